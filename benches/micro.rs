//! Nanoseconds a pick for every policy and a look at the snapshot, milliseconds a table and a large configuration:
//! `cargo bench --bench micro`.
//!
//! Prints the median of several rounds; nothing is asserted.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use evenkeel::balance::{Load, Member, Picker, Request};
use evenkeel::config::{Config, HashKey, Hashing, Machine, Policy};
use evenkeel::hash::hash;
use evenkeel::pool::snapshot::Snapshot;
use statrs::statistics::{Data, Median as _};

const ROUNDS: usize = 9;
const PICKS: u64 = 200_000;

fn main() {
    let maglev = |bounded_load| Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load });
    println!("{:<34}{:>10}{:>10}", "ns per pick, backends:", 10, 1_000);
    for (name, policy, weight) in [
        ("round-robin", Policy::RoundRobin, (|_| 1) as fn(u16) -> u16),
        ("round-robin, all weights differ", Policy::RoundRobin, |index| index + 1),
        ("least-connections", Policy::LeastConnections, |_| 1),
        ("power-of-two", Policy::PowerOfTwo, |_| 1),
        ("least-latency", Policy::LeastLatency, |_| 1),
        ("random", Policy::Random, |_| 1),
        ("maglev", maglev(None), |_| 1),
        ("maglev, bounded load", maglev(Some(1.25)), |_| 1),
    ] {
        let picker = |backends| activated(policy, members(backends, weight));
        println!("{:<34}{:>10.1}{:>10.1}", name, nanos_per_pick(&picker(10)), nanos_per_pick(&picker(1_000)));
    }
    println!("{:<34}{:>10.2}{:>10.2}", "maglev table, ms", millis_per_table(10), millis_per_table(1_000));
    println!("{:<34}{:>10.2}", "a session on 1 of 1,000, ns", nanos_per_lease());
    println!("{:<34}{:>10.2}", "a pick of 1,000 before activating", nanos_before_activation());
    println!("{:<34}{:>10.2}", "activating 1,000, ms", millis_per_activation());
    println!("{:<34}{:>10.2}", "a look at the snapshot, ns", nanos_per_look());
    println!("{:<34}{:>10.2}", "configuration of 10,000 backends, ms", millis_per_configuration());
}

fn members(count: u16, weight: fn(u16) -> u16) -> Vec<Member> {
    let member = |index: u16| {
        let load = Arc::new(Load::default());
        // Ages by the time of the picks, so that reading it takes all that it takes in service.
        load.latency.observe(Duration::from_millis(1), 0);
        Member { key: hash(&index.to_le_bytes(), 0), weight: weight(index), available: true, load }
    };
    (0..count).map(member).collect()
}

fn activated(policy: Policy, members: Vec<Member>) -> Picker {
    let picker = Picker::build(policy, members, None);
    picker.activate();
    picker
}

fn nanos_per_pick(picker: &Picker) -> f64 {
    median(|| {
        let start = Instant::now();
        for key in 0..PICKS {
            black_box(picker.pick(Request { key: black_box(key), tried: &[], now_ms: 1_000, random: key }));
        }
        start.elapsed().as_nanos() as f64 / PICKS as f64
    })
}

/// What it costs to count a session when it begins and when it ends, where a picker of 1,000 backends wants to know.
fn nanos_per_lease() -> f64 {
    let members = members(1_000, |_| 1);
    let loads: Vec<_> = members.iter().map(|member| Arc::clone(&member.load)).collect();
    let _picker = activated(Policy::LeastConnections, members);
    median(|| {
        let start = Instant::now();
        for (_, load) in (0..PICKS).zip(loads.iter().cycle()) {
            drop(black_box(load.lease()));
        }
        start.elapsed().as_nanos() as f64 / PICKS as f64
    })
}

/// What a pick takes by a picker whose loads do not report to it, not yet or no longer.
fn nanos_before_activation() -> f64 {
    nanos_per_pick(&Picker::build(Policy::LeastConnections, members(1_000, |_| 1), None))
}

fn millis_per_activation() -> f64 {
    median(|| {
        let picker = Picker::build(Policy::LeastConnections, members(1_000, |_| 1), None);
        let start = Instant::now();
        picker.activate();
        start.elapsed().as_secs_f64() * 1e3
    })
}

fn millis_per_table(backends: u16) -> f64 {
    let policy = Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: None });
    median(|| {
        let members = members(backends, |_| 1);
        let start = Instant::now();
        black_box(Picker::build(policy, members, None));
        start.elapsed().as_secs_f64() * 1e3
    })
}

/// What a worker pays to read the snapshot, unchanged since it last did.
fn nanos_per_look() -> f64 {
    let snapshot = ArcSwap::from_pointee(Snapshot::empty(&configuration(1)));
    median(|| {
        let start = Instant::now();
        for _ in 0..PICKS {
            black_box(snapshot.load().generation);
        }
        start.elapsed().as_nanos() as f64 / PICKS as f64
    })
}

/// From the text to the decided configuration.
fn millis_per_configuration() -> f64 {
    median(|| {
        let start = Instant::now();
        black_box(configuration(10_000));
        start.elapsed().as_secs_f64() * 1e3
    })
}

fn configuration(backends: u32) -> Config {
    let addresses: Vec<String> =
        (0..backends).map(|index| format!("\"{}:80\"", Ipv4Addr::from(0x0a00_0000 + index))).collect();
    let text = format!(
        "[listeners.l]\nbind = [\"127.0.0.1:80\"]\npool = \"p\"\n[pools.p]\nbackends = [{}]\n",
        addresses.join(",\n")
    );
    let machine = Machine { descriptor_limit: 1 << 20, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
    Config::parse("bench.toml", &text, &machine).expect("a sound configuration")
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let rounds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    Data::new(rounds).median()
}
