//! Properties of parsing and comparing configurations, over random texts and random configurations.

use std::cell::Cell;
use std::num::NonZeroUsize;

use evenkeel::config::diff::Diff;
use evenkeel::config::{Config, Listener, Machine, Protocol};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::TestRunner;

const MACHINE: Machine =
    Machine { descriptor_limit: 20_000, ephemeral_ports: 28_232, cpus: NonZeroUsize::new(4).expect("4 is not 0") };

/// One of TCP and one of UDP.
const SOUND: [&str; 2] = [include_str!("../conf/postgres.toml"), include_str!("../conf/dns.toml")];

/// What makes a listener one of UDP.
const UDP: &str = "protocol = \"udp\"";

/// The least that serves.
const LISTENING: &str = "listeners.a = { bind = ['[::]:1'], pool = 'p' }\npools.p.backends = ['a:1']\n";

/// Parses; whatever comes of it must be sound in itself.
fn parse(text: &str) -> Option<Config> {
    match Config::parse("random.toml", text, &MACHINE) {
        Ok(config) => {
            assert_whole(&config);
            Some(config)
        }
        Err(errors) => {
            let shown = errors.to_string();
            let lines = text.lines().count().max(1);
            assert!(errors.iter().len() > 0);
            assert!(shown.lines().all(|line| line == line.trim_end()), "{shown}");
            let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
            assert!(places.is_sorted(), "{shown}");
            assert!(places.iter().all(|(line, column)| (1..=lines).contains(line) && *column >= 1), "{shown}");
            None
        }
    }
}

/// What the types of a [`Config`] promise in words.
fn assert_whole(config: &Config) {
    assert!(!config.listeners.is_empty());
    let mut flows = 0;
    for listener in config.listeners.values() {
        assert!(!listener.bind.is_empty());
        assert!(config.pools.contains_key(&listener.pool));
        match &listener.protocol {
            Protocol::Tcp(tcp) => assert!(tcp.max_connections <= config.max_connections),
            Protocol::Udp(udp) => flows += u64::from(udp.max_flows.get()),
        }
    }
    for pool in config.pools.values() {
        assert!(!pool.backends.is_empty());
    }
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log);
    assert!(filter.is_ok(), "{:?}: {filter:?}", config.log);
    let descriptors = 2 * u64::from(config.max_connections.get()) + flows + 2 * config.max_pipes as u64;
    assert!(descriptors < MACHINE.descriptor_limit);
}

/// Pieces out of which a text is made: anything between white space and punctuation, and those themselves.
fn tokens(text: &str) -> Vec<&str> {
    let is_boundary = |c: char| c.is_whitespace() || "=[]{},\"#.:".contains(c);
    text.split_inclusive(is_boundary)
        .flat_map(|piece| piece.split_at_checked(piece.len() - 1).map_or(vec![piece], |(a, b)| vec![a, b]))
        .collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Delete(Index),
    Duplicate(Index),
    Swap(Index, Index),
    Insert(Index, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let strays = [
        "[",
        "]",
        "[[",
        "{",
        "}",
        "\"",
        "'''",
        "=",
        ",",
        ".",
        "\n",
        "\u{feff}",
        "\u{65e5}",
        "0",
        "-1",
        "nan",
        "true",
        "1979-05-27",
    ];
    prop_oneof![
        any::<Index>().prop_map(Mutation::Delete),
        any::<Index>().prop_map(Mutation::Duplicate),
        any::<(Index, Index)>().prop_map(|(a, b)| Mutation::Swap(a, b)),
        (any::<Index>(), select(strays.to_vec())).prop_map(|(at, stray)| Mutation::Insert(at, stray)),
    ]
}

fn mutate(tokens: &mut Vec<&'static str>, mutation: &Mutation) {
    match mutation {
        Mutation::Delete(at) => drop(tokens.remove(at.index(tokens.len()))),
        Mutation::Duplicate(at) => {
            let at = at.index(tokens.len());
            tokens.insert(at, tokens[at]);
        }
        Mutation::Swap(a, b) => {
            let (a, b) = (a.index(tokens.len()), b.index(tokens.len()));
            tokens.swap(a, b);
        }
        Mutation::Insert(at, stray) => tokens.insert(at.index(tokens.len()), stray),
    }
}

/// A sound configuration as text: listeners by port and pools by number, so that two of them overlap.
fn sound() -> impl Strategy<Value = String> {
    let backend = (0..9_u8, 0..3_u16, any::<bool>());
    let pool = (
        vec(backend, 1..5),
        select(vec!["round-robin", "least-connections", "power-of-two", "least-latency", "random", "maglev"]),
        1..4_u8,
    );
    let pools = btree_map(1..4_u8, pool, 1..4);
    let listeners = btree_map(1..6_u16, (any::<Index>(), prop_oneof![tcp_keys(), udp_keys()]), 1..4);
    (pools, listeners, 1..3_u8).prop_map(|(pools, listeners, workers)| {
        let mut text = format!("workers = {workers}\n");
        for (port, (pool, keys)) in &listeners {
            let pool = pools.keys().nth(pool.index(pools.len())).expect("is in range");
            text += &format!("[listeners.l{port}]\nbind = [\"[::]:{port}\"]\npool = \"p{pool}\"\n{keys}");
        }
        for (name, (backends, policy, attempts)) in &pools {
            let unique: std::collections::BTreeMap<_, _> =
                backends.iter().map(|(n, weight, backup)| (n, (weight, backup))).collect();
            let backends = unique.iter().map(|(n, (weight, backup))| {
                format!("{{ address = \"10.0.0.{n}:1\", weight = {weight}, backup = {backup} }}")
            });
            let backends = backends.collect::<Vec<_>>().join(", ");
            text += &format!(
                "[pools.p{name}]\npolicy = \"{policy}\"\nconnect_attempts = {attempts}\nbackends = [{backends}]\n"
            );
        }
        text
    })
}

/// The keys of a TCP listener, a line each.
fn tcp_keys() -> impl Strategy<Value = String> {
    (select(vec!["1h", "2h"]), any::<bool>()).prop_map(|(idle, has_bound)| {
        let bound = if has_bound { "max_connections = 10\n" } else { "" };
        format!("{bound}idle_timeout = \"{idle}\"\n")
    })
}

/// The keys of a UDP listener, a line each; any of them but the protocol may be left out.
fn udp_keys() -> impl Strategy<Value = String> {
    let keys = [
        "flow_idle_timeout = \"5s\"",
        "requests = 1",
        "responses = \"unlimited\"",
        // They go with each other only like this.
        "per_packet = true",
        "per_packet = false\non_backend_down = \"stick\"",
        "max_flows = 10",
        "max_flows_per_source = 5",
        "receive_buffer = \"64KiB\"",
    ];
    subsequence(keys.to_vec(), 0..=keys.len()).prop_map(|mut keys| {
        let mut assigned = false;
        keys.retain(|key| !key.starts_with("per_packet") || !std::mem::replace(&mut assigned, true));
        let lines = std::iter::once(UDP).chain(keys).map(|key| format!("{key}\n"));
        lines.collect()
    })
}

/// A table of the known keys with values of every type, right and wrong.
fn structured() -> impl Strategy<Value = String> {
    let header = select(vec![
        "",
        "[admin]",
        "[listeners]",
        "[listeners.a]",
        "[listeners.b]",
        "[listeners.\"\"]",
        "[pools.a]",
        "[pools.a.health_check]",
        "[pools.a.passive_check]",
        "[[pools.a.backends]]",
        "[[pools.b.backends]]",
        "[pools]",
        "[[listeners]]",
        "[nothing]",
    ]);
    let key = select(vec![
        "workers",
        "max_connections",
        "shutdown_timeout",
        "log",
        "admin",
        "listeners",
        "pools",
        "socket",
        "http",
        "bind",
        "protocol",
        "pool",
        "idle_timeout",
        "half_close_timeout",
        "access_log",
        "policy",
        "hash_key",
        "bounded_load",
        "connect_timeout",
        "connect_attempts",
        "backends",
        "health_check",
        "on_down",
        "type",
        "interval",
        "timeout",
        "rise",
        "fall",
        "flow_idle_timeout",
        "requests",
        "responses",
        "per_packet",
        "max_flows",
        "max_flows_per_source",
        "on_backend_down",
        "receive_buffer",
        "send",
        "expect_hex",
        "query",
        "record",
        "port",
        "max_ejected",
        "address",
        "name",
        "weight",
        "backup",
        "a.b.c",
        "\"\\n\"",
    ]);
    let value = prop_oneof![
        select(vec![
            "1",
            "0",
            "-1",
            "65535",
            "65536",
            "4294967296",
            "99999999999999999999",
            "0xff",
            "1.25",
            "0.5",
            "inf",
            "nan",
            "true",
            "false",
            "\"\"",
            "\"a\"",
            "\"1s\"",
            "\"0s\"",
            "\"99999999999999d\"",
            "\"tcp\"",
            "\"udp\"",
            "\"unlimited\"",
            "\"64KiB\"",
            "\"maglev\"",
            "\"a:1\"",
            "\"[::1]:1\"",
            "\"unix:/a\"",
            "[]",
            "{}",
            "[[]]",
            "[\"a:1\"]",
            "[\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            "[{ address = \"a:1\" }, \"a:1\"]",
            "{ a = { bind = 1 } }",
            "1979-05-27",
            "07:32:00",
            "'''\n\n'''",
            "2s",
        ])
        .prop_map(str::to_owned),
        ".{0,20}".prop_map(|text| format!("{text:?}")),
    ];
    let table = (header, vec((key, value), 0..6)).prop_map(|(header, keys)| {
        let keys: Vec<String> = keys.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
        format!("{header}\n{}\n", keys.join("\n"))
    });
    vec(table, 0..6).prop_map(|tables| tables.concat())
}

fn thorough() -> ProptestConfig {
    ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        parse(&text);
    }

    #[test]
    fn any_toml_like_text_is_judged(text in "([a-c\\[\\]{}=.,\"'#0-9 \n\r\t\\\\-]|listeners|pools|bind){0,60}") {
        parse(&text);
    }

    #[test]
    fn any_damaged_file_is_judged(sound in select(SOUND.to_vec()), mutations in vec(mutation(), 1..8)) {
        let mut tokens = tokens(sound);
        for mutation in &mutations {
            mutate(&mut tokens, mutation);
        }
        parse(&tokens.concat());
    }

    #[test]
    fn any_structure_is_judged(text in structured()) {
        parse(&text);
    }

    #[test]
    fn an_accepted_log_filter_is_one_that_the_logger_takes(
        text in "[ \t]?(info|OFF|warN|inof)?([ ,=:._\\[{-]|evenkeel|access|debug|\u{e9}){0,8}[ \t]?"
    ) {
        parse(&format!("log = {text:?}\n{LISTENING}"));
    }

    #[test]
    fn the_way_back_undoes_the_way_there(old in sound(), new in sound()) {
        let (old, new) = (parse(&old).expect("is sound"), parse(&new).expect("is sound"));
        let (there, back) = (Diff::new(&old, &new), Diff::new(&new, &old));
        prop_assert_eq!(&there.listeners.added, &back.listeners.removed);
        prop_assert_eq!(&there.listeners.removed, &back.listeners.added);
        prop_assert_eq!(&there.listeners.changed, &back.listeners.changed);
        prop_assert_eq!(&there.backends.added, &back.backends.removed);
        prop_assert_eq!(&there.backends.removed, &back.backends.added);
        prop_assert_eq!(&there.backends.changed, &back.backends.changed);
        prop_assert_eq!(&there.pools.added, &back.pools.removed);
        prop_assert_eq!(&there.pools.changed, &back.pools.changed);
        prop_assert_eq!(&there.settings, &back.settings);
        prop_assert_eq!(&there.restart_required, &back.restart_required);
        let kept = old.listeners.len() - there.listeners.removed.len();
        prop_assert_eq!(kept + there.listeners.added.len(), new.listeners.len());
        prop_assert!(there.listeners.changed.len() <= kept);
    }
}

#[test]
fn a_sound_configuration_of_either_protocol_is_accepted_and_equals_itself() {
    let (tcp_only, udp_only, both) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let outcome = TestRunner::new(thorough()).run(&sound(), |text| {
        let config = parse(&text).expect("is sound");
        prop_assert!(Diff::new(&config, &config).is_empty());
        prop_assert_eq!(parse(&text).expect("is sound"), config.clone());
        let is_udp = |listener: &Listener| matches!(listener.protocol, Protocol::Udp(_));
        let udp = config.listeners.values().filter(|listener| is_udp(listener)).count();
        let found = match (udp, config.listeners.len() - udp) {
            (0, _) => &tcp_only,
            (_, 0) => &udp_only,
            _ => &both,
        };
        found.set(found.get() + 1);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let found = [&tcp_only, &udp_only, &both].map(Cell::get);
    assert!(found.iter().all(|cases| *cases >= 100), "TCP, UDP and both were found so often: {found:?}");
}

#[test]
fn space_in_a_log_filter_does_not_reach_the_logger() {
    let text = format!("log = \" info, evenkeel::access=off\"\n{LISTENING}");
    assert_eq!(parse(&text).expect("is sound").log, "info,evenkeel::access=off");
}

/// The unmutated files go through the same token splitting, so that the mutations start from something sound.
#[test]
fn tokens_are_the_whole_text() {
    for sound in SOUND {
        assert_eq!(tokens(sound).concat(), sound);
        assert!(tokens(sound).len() > 300, "{} tokens", tokens(sound).len());
        assert!(parse(sound).is_some());
    }
}
