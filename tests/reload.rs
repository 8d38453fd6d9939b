//! SIGHUP: all of the new file or nothing of it, and no session and no connection that notices.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use support::backend::{Backend, Behaviour, greeted, read_greeting};
use support::balancer::{Balancer, Reload};
use support::config::Config;
use support::log::Record;
use support::port::free_addr;
use support::socket::{assert_echo, assert_refused, connect, end, wait_closed};
use support::wait::{SOON, hold_for, wait_until};

/// Connections that wait in the kernel's queues while the process is stopped.
const QUEUED: usize = 50;

#[test]
fn the_log_says_what_changed_and_the_generation_counts() {
    let (one, two, three) = (free_addr(), free_addr(), free_addr());
    let backends = [(); 3].map(|()| Backend::start(Behaviour::Greet));
    let [a, b, c] = backends.each_ref().map(Backend::addr);
    let before = Config::new().listener("one", one, "main", "").listener("two", two, "main", "");
    let balancer = Balancer::start(&before.pool("main", &[a, b], ""));
    assert_eq!(balancer.metrics().value("evenkeel_config_generation", &[]), 1.0);

    let after = Config::new().listener("one", one, "main", "max_connections = 7").listener("three", three, "main", "");
    let after = after.pool("main", &[b, c], "");
    let changes = balancer.reload_done(&after);
    assert!(changes.contains("listeners +1 -1 ~1"), "{changes}");
    assert!(changes.contains("backends +1 -1 ~0"), "{changes}");
    assert_eq!(balancer.metrics().value("evenkeel_config_generation", &[]), 2.0);
    wait_closed(two);
    let reached: Vec<SocketAddr> = (0..8).map(|_| greeted(three).1).collect();
    assert!(!reached.contains(&a) && reached.contains(&b) && reached.contains(&c), "{reached:?}");

    let changes = balancer.reload_done(&after);
    assert!(changes.contains("listeners +0 -0 ~0") && changes.contains("backends +0 -0 ~0"), "{changes}");
}

#[test]
fn what_is_logged_changes_with_a_reload() {
    let (front, to_nobody, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Echo));
    let logging = |filter: &str| {
        let config = Config::new().top(&format!("log = \"{filter}\""));
        let config = config.listener("main", front, "main", "").pool("main", &[back.addr()], "");
        config.listener("dead", to_nobody, "dead", "").pool("dead", &[free_addr()], "")
    };
    let is_there = |balancer: &Balancer, what: fn(&Record) -> bool| balancer.log.events().iter().any(what);
    let balancer = Balancer::start(&logging("info, evenkeel::access=off"));
    assert_echo(&mut connect(front));
    balancer.wait_idle(SOON);

    let changes = balancer.reload_done(&logging("info"));
    assert!(changes.ends_with(", settings log"), "{changes}");
    assert!(!is_there(&balancer, |record| record.message().contains("restart")), "this needs none");
    let mut client = connect(front);
    assert_echo(&mut client);
    let name = client.local_addr().expect("a connected socket has an address").to_string();
    drop(client);
    assert_eq!(balancer.log.only_session().text("client"), name, "the first session was not to be logged");

    balancer.reload_done(&logging("debug"));
    assert_refused(to_nobody);
    wait_until("debug records are there", SOON, || is_there(&balancer, |record| record.text("level") == "DEBUG"));
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_the_log_says_why() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|addr| (taken, addr)).expect("a bound socket has an address");
    let good = |keys: &str| Config::new().listener("main", front, "main", keys).pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&good(""));
    let (mut held, _) = greeted(front);

    let broken: [(&str, String, String); 4] = [
        ("a syntax error", "this is no TOML [".to_owned(), "evenkeel.toml".to_owned()),
        ("an unknown pool", good("").listener("x", free_addr(), "nowhere", "").text(), "nowhere".to_owned()),
        ("an unknown key", good("max_conections = 3").text(), "max_conections".to_owned()),
        ("a port that another process holds", good("").listener("x", taken.1, "main", "").text(), taken.1.to_string()),
    ];
    for (index, (what, text, named)) in broken.into_iter().enumerate() {
        let text = format!("{text}\n[admin]\nhttp = \"{}\"\n", balancer.admin());
        let Reload::Refused { error } = balancer.reload_text(&text) else { panic!("{what} was accepted") };
        assert!(error.contains(&named), "{what}: the error should name {named}: {error}");
        assert_echo(&mut held);
        assert_echo(&mut greeted(front).0);
        let metrics = balancer.metrics();
        assert_eq!(metrics.value("evenkeel_config_generation", &[]), 1.0, "{what}");
        assert_eq!(metrics.value("evenkeel_reloads_total", &[("result", "refused")]), index as f64 + 1.0);
    }
    assert!(balancer.is_ready());

    let added = free_addr();
    balancer.reload_done(&good("").listener("added", added, "main", ""));
    assert_echo(&mut greeted(added).0);
    assert_echo(&mut held);
}

#[test]
fn a_refused_reload_leaves_nothing_bound() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let config = || Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&config());
    let before = balancer.settled_descriptors().sockets;
    // The first of the two can be bound, the second cannot.
    let fresh = free_addr();
    let half = config().listener("a", fresh, "main", "").listener(
        "b",
        taken.local_addr().expect("a bound socket has an address"),
        "main",
        "",
    );
    let Reload::Refused { .. } = balancer.reload(&half) else { panic!("the port is taken") };
    wait_closed(fresh);
    wait_until("the sockets are back at the baseline", SOON, || balancer.process.descriptors().sockets == before);
}

#[test]
fn a_removed_listener_serves_who_had_reached_it() {
    let (kept, removed, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Echo));
    let only_kept = || Config::new().listener("kept", kept, "main", "").pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&only_kept().listener("removed", removed, "main", ""));
    let mut established = connect(removed);
    assert_echo(&mut established);

    let mut queued = queue_while_stopped(&balancer, removed, &only_kept());
    queued.iter_mut().for_each(assert_echo);
    assert_echo(&mut established);
    wait_closed(removed);
    assert_echo(&mut connect(kept));
    drop((queued, established));
    balancer.wait_idle(SOON);
}

#[test]
fn a_removed_listener_can_come_back_at_once() {
    let (kept, moving, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Echo));
    let without = || Config::new().listener("kept", kept, "main", "").pool("main", &[back.addr()], "");
    let with = || without().listener("moving", moving, "main", "");
    let balancer = Balancer::start(&with());
    for _ in 0..5 {
        balancer.reload_done(&without());
        balancer.reload_done(&with());
        assert_echo(&mut connect(moving));
    }
}

#[test]
fn a_listener_that_is_renamed_loses_no_connection() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Echo));
    let named = |name| Config::new().listener(name, front, "main", "").pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&named("before"));
    let mut established = connect(front);
    assert_echo(&mut established);
    for name in ["after", "again", "before"] {
        let mut queued = queue_while_stopped(&balancer, front, &named(name));
        queued.iter_mut().for_each(assert_echo);
        assert_echo(&mut established);
        let mut fresh = connect(front);
        assert_echo(&mut fresh);
        let sessions = balancer.metrics().sum("evenkeel_listener_sessions_active", &[("listener", name)]);
        assert!(sessions >= 1.0, "new sessions are counted under the new name");
    }
    drop(established);
    balancer.wait_idle(SOON);
}

#[test]
fn a_listener_changes_its_pool_for_new_sessions_only() {
    let (front, a, b) = (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
    let to =
        |pool| Config::new().listener("main", front, pool, "").pool("a", &[a.addr()], "").pool("b", &[b.addr()], "");
    let balancer = Balancer::start(&to("a"));
    let (mut held, reached) = greeted(front);
    assert_eq!(reached, a.addr());
    let mut queued = queue_while_stopped(&balancer, front, &to("b"));
    // Those that waited may go to either, but they are served.
    for stream in &mut queued {
        let reached = read_greeting(stream).expect("a greeting");
        assert!([a.addr(), b.addr()].contains(&reached));
    }
    assert_eq!(greeted(front).1, b.addr());
    assert_echo(&mut held);
}

#[test]
fn a_removed_backend_drains() {
    let (front, a, b) = (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
    let with = |backends: &[SocketAddr]| {
        Config::new().listener("main", front, "main", "").pool("main", backends, "").health_check("main", 100, 100)
    };
    let balancer = Balancer::start(&with(&[a.addr(), b.addr()]));
    let mut on_a = loop {
        let (stream, reached) = greeted(front);
        if reached == a.addr() {
            break stream;
        }
    };
    balancer.reload_done(&with(&[b.addr()]));
    for _ in 0..10 {
        assert_eq!(greeted(front).1, b.addr());
    }
    assert_echo(&mut on_a);
    let name = a.addr().to_string();
    let active =
        |balancer: &Balancer| balancer.metrics().sum("evenkeel_backend_sessions_active", &[("backend", &name)]);
    assert_eq!(active(&balancer), 1.0, "what drains is still counted");
    wait_until("probes of it have ended", SOON, || a.open() == 1);
    let accepted = a.accepted();
    hold_for("it is probed no more", Duration::from_millis(500), || a.accepted() == accepted);
    end(&on_a);
    drop(on_a);
    balancer.wait_idle(SOON);
    assert_eq!(active(&balancer), 0.0);
}

#[test]
fn weight_zero_drains_and_comes_back() {
    let (front, a, b) = (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
    let with = |weight: u32| {
        let backends = format!("\"{}\", {{ address = \"{}\", weight = {weight} }}", a.addr(), b.addr());
        Config::new().listener("main", front, "main", "").pool_of("main", &backends, "policy = \"round-robin\"")
    };
    let balancer = Balancer::start(&with(1));
    let mut held: Vec<_> = (0..4).map(|_| greeted(front)).collect();
    assert!(held.iter().any(|(_, reached)| *reached == b.addr()));
    balancer.reload_done(&with(0));
    assert!((0..10).all(|_| greeted(front).1 == a.addr()));
    held.iter_mut().for_each(|(stream, _)| assert_echo(stream));
    balancer.reload_done(&with(1));
    assert!((0..10).any(|_| greeted(front).1 == b.addr()));
}

/// Stops the process, lets clients connect into the kernel's queues, asks for a reload, and lets it go on.
fn queue_while_stopped(balancer: &Balancer, front: SocketAddr, next: &Config) -> Vec<TcpStream> {
    let before = balancer.metrics();
    balancer.process.signal(Signal::STOP);
    let queued = (0..QUEUED).map(|_| connect(front)).collect();
    balancer.write(next);
    balancer.process.signal(Signal::HUP);
    balancer.process.signal(Signal::CONT);
    match balancer.outcome_since(&before) {
        Reload::Done { .. } => queued,
        Reload::Refused { error } => panic!("the reload was refused: {error}"),
    }
}
