//! Probes: a dead backend is noticed and avoided, a living one is not troubled, and nobody flaps.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::blackhole::Blackhole;
use support::config::Config;
use support::metrics::{HttpClient, Metrics};
use support::port::free_addr;
use support::socket::{accept, addr_of, assert_echo, assert_refused, listen, wait_reset};
use support::wait::{SOON, hold_for, wait_until};

/// Of quick probes: 3 failures in a row take a backend down, 2 successes bring it up.
const INTERVAL_MS: u32 = 100;

/// How often a flapping backend goes away and comes back.
const FLAPS: u32 = 6;

#[test]
fn traffic_goes_round_a_killed_backend_and_returns_to_it() {
    let (front, mut a, b) = (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
    let balancer = Balancer::start(&config(front, &[a.addr(), b.addr()], "policy = \"round-robin\""));
    wait_until("both are up", SOON, || up(&balancer, a.addr()) && up(&balancer, b.addr()));

    a.kill();
    while up(&balancer, a.addr()) {
        assert_eq!(greeted(front).1, b.addr(), "clients are served before the probes have noticed");
    }
    let retries = |balancer: &Balancer| balancer.metrics().sum("evenkeel_backend_retries_total", &[]);
    let before = retries(&balancer);
    for _ in 0..10 {
        assert_eq!(greeted(front).1, b.addr());
    }
    assert_eq!(retries(&balancer), before, "nobody tries it any more");

    a.revive();
    wait_until("it is up again", SOON, || up(&balancer, a.addr()));
    let reached: Vec<_> = (0..10).map(|_| greeted(front).1).collect();
    assert!(reached.contains(&a.addr()) && reached.contains(&b.addr()), "{reached:?}");
    let transitions = [("backend", &*a.addr().to_string())];
    assert!(balancer.metrics().sum("evenkeel_health_transitions_total", &transitions) >= 2.0);
}

#[test]
fn a_blackholed_backend_goes_down_in_time_and_nobody_waits_for_it() {
    // Nobody accepts on it, but as long as its queue has room the kernel completes every handshake.
    let (front, silent, good) = (free_addr(), listen(), Backend::start(Behaviour::Greet));
    let silent_addr = addr_of(&silent);
    let keys = "policy = \"round-robin\"\nconnect_timeout = \"200ms\"";
    let config = Config::new()
        .listener("main", front, "main", "")
        .pool("main", &[silent_addr, good.addr()], keys)
        .health_check("main", 300, 300);
    let balancer = Balancer::start(&config);
    wait_until("both are up", SOON, || up(&balancer, silent_addr) && up(&balancer, good.addr()));

    let hole = Blackhole::swallow(silent);
    let (gone, mut served) = (Instant::now(), 0);
    // fall x (interval + timeout), with a quarter on top for jitter and for a machine that has other things to do.
    let bound = Duration::from_millis(3 * (300 + 300) * 5 / 4);
    while up(&balancer, silent_addr) {
        assert!(gone.elapsed() < bound, "still up after {:?}", gone.elapsed());
        let asked = Instant::now();
        assert_eq!(greeted(front).1, good.addr());
        assert!(asked.elapsed() < Duration::from_secs(1), "a client waited {:?}", asked.elapsed());
        served += 1;
    }
    assert!(served > 0, "clients were served meanwhile");
    assert!(gone.elapsed() >= Duration::from_millis(600), "one lost probe is not enough: {:?}", gone.elapsed());
    let timeouts = |balancer: &Balancer| balancer.metrics().sum("evenkeel_backend_connect_errors_total", &[]);
    let before = timeouts(&balancer);
    for _ in 0..10 {
        assert_eq!(greeted(front).1, good.addr());
    }
    assert_eq!(timeouts(&balancer), before, "nobody tries it any more");

    let _alive = hole.come_alive();
    wait_until("it is up again", SOON, || up(&balancer, silent_addr));
}

#[test]
fn a_flapping_probe_moves_nothing_while_up() {
    let (front, mut back) = (free_addr(), Backend::start(Behaviour::Greet));
    let balancer = Balancer::start(&calm_config(front, back.addr()));
    wait_until("it is up", SOON, || up(&balancer, back.addr()));
    let before = transitions(&balancer);
    for _ in 0..FLAPS {
        let failed = probes(&balancer, "failed");
        back.stop_listening();
        wait_until("a probe fails", SOON, || probes(&balancer, "failed") > failed);
        let passed = probes(&balancer, "passed");
        back.revive();
        wait_until("a probe passes", SOON, || probes(&balancer, "passed") > passed);
        assert!(up(&balancer, back.addr()), "one failure in a row takes nobody down");
    }
    assert_eq!(transitions(&balancer), before);
}

#[test]
fn a_flapping_probe_moves_nothing_while_down() {
    let front = free_addr();
    let listener = listen();
    let back = addr_of(&listener);
    drop(listener);
    let balancer = Balancer::start(&calm_config(front, back));
    wait_until("it is down", SOON, || probes(&balancer, "failed") >= 1.0 && !up(&balancer, back));
    let before = transitions(&balancer);
    for _ in 0..FLAPS {
        let (passed, failed) = (probes(&balancer, "passed"), probes(&balancer, "failed"));
        // A queue for one, gone the moment that a probe has been accepted: two in a row cannot pass.
        let listener = TcpListener::bind(back).expect("the port is ours");
        rustix::net::listen(&listener, 0).expect("a bound socket listens");
        let probe = accept(&listener);
        drop(listener);
        drop(probe);
        wait_until("a probe has passed", SOON, || probes(&balancer, "passed") > passed);
        wait_until("a probe has failed", SOON, || probes(&balancer, "failed") > failed);
        assert!(!up(&balancer, back), "one success in a row brings nobody up");
    }
    assert_eq!(transitions(&balancer), before);
}

#[test]
fn all_down_refuses_at_once_and_recovers_by_itself() {
    let (front, mut back) = (free_addr(), Backend::start(Behaviour::Greet));
    let balancer = Balancer::start(&config(front, &[back.addr()], "connect_timeout = \"5s\""));
    wait_until("it is up", SOON, || up(&balancer, back.addr()));
    back.kill();
    wait_until("it is down", SOON, || !up(&balancer, back.addr()));
    let refused = |balancer: &Balancer| {
        balancer.metrics().sum("evenkeel_listener_refused_total", &[("listener", "main"), ("reason", "no-backend")])
    };
    let before = refused(&balancer);
    for _ in 0..5 {
        let started = Instant::now();
        assert_refused(front);
        assert!(started.elapsed() < Duration::from_millis(200), "refused after {:?}", started.elapsed());
    }
    assert_eq!(refused(&balancer) - before, 5.0);
    back.revive();
    wait_until("it is up again", SOON, || up(&balancer, back.addr()));
    assert_echo(&mut greeted(front).0);
}

#[test]
fn a_backup_serves_only_while_no_primary_is_up() {
    let (front, mut primary, backup) =
        (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
    let backends = format!("\"{}\", {{ address = \"{}\", backup = true }}", primary.addr(), backup.addr());
    let config = Config::new().listener("main", front, "main", "").pool_of("main", &backends, "").health_check(
        "main",
        INTERVAL_MS,
        INTERVAL_MS,
    );
    let balancer = Balancer::start(&config);
    wait_until("both are up", SOON, || up(&balancer, primary.addr()) && up(&balancer, backup.addr()));
    assert!((0..10).all(|_| greeted(front).1 == primary.addr()));

    primary.kill();
    wait_until("the primary is down", SOON, || !up(&balancer, primary.addr()));
    let (mut on_backup, reached) = greeted(front);
    assert_eq!(reached, backup.addr());

    primary.revive();
    wait_until("the primary is up again", SOON, || up(&balancer, primary.addr()));
    assert!((0..10).all(|_| greeted(front).1 == primary.addr()));
    assert_echo(&mut on_backup);
}

#[test]
fn probes_end_cleanly_even_at_a_backend_that_speaks_first() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let balancer = Balancer::start(&config(front, &[back.addr()], ""));
    wait_until("twenty probes have passed", SOON, || probes(&balancer, "passed") >= 20.0);
    wait_until("they have closed", SOON, || back.open() == 0);
    assert!(back.accepted() >= 20);
    assert_eq!(back.resets(), 0, "the backend's log is full of resets");
    assert_eq!(probes(&balancer, "failed"), 0.0);
}

#[test]
fn a_backend_that_never_closes_does_not_collect_probes() {
    // It accepts and holds, and never answers the end of a probe.
    let (front, back) = (free_addr(), listen());
    let addr = addr_of(&back);
    thread::spawn(move || {
        let _held: Vec<_> = back.incoming().collect();
    });
    let balancer = Balancer::start(&config(front, &[addr], ""));
    let baseline = balancer.process.descriptors().sockets;
    wait_until("many probes have passed", SOON, || probes(&balancer, "passed") >= 30.0);
    let sockets = balancer.process.descriptors().sockets;
    assert!(sockets <= baseline + 8, "{sockets} sockets, {baseline} at the start");
}

#[test]
fn on_down_close_resets_sessions_and_keep_leaves_them() {
    for (on_down, cut) in [("close", true), ("keep", false)] {
        let (front, mut back) = (free_addr(), Backend::start(Behaviour::Greet));
        let balancer = Balancer::start(&config(front, &[back.addr()], &format!("on_down = \"{on_down}\"")));
        wait_until("it is up", SOON, || up(&balancer, back.addr()));
        let (mut held, _) = greeted(front);
        assert_echo(&mut held);
        // The process is alive and serves whom it has; only its probes fail.
        back.stop_listening();
        wait_until("it is down", SOON, || !up(&balancer, back.addr()));
        if cut {
            wait_reset("the session", &held, Duration::from_secs(2));
            let record = balancer.log.only_session();
            assert_eq!((record.text("reason"), record.text("side")), ("backend-down", "upstream"));
            balancer.wait_idle(SOON);
            wait_until("the backend's side is closed too", SOON, || back.open() == 0);
        } else {
            hold_for("the session lives", Duration::from_millis(500), || balancer.active_sessions() == 1.0);
            assert_echo(&mut held);
        }
    }
}

#[test]
fn what_we_lack_ourselves_takes_nobody_down() {
    let (front, mut back) = (free_addr(), Backend::start(Behaviour::Greet));
    let balancer = Balancer::start(&config(front, &[back.addr()], "on_down = \"close\""));
    wait_until("it is up", SOON, || up(&balancer, back.addr()));
    let (mut held, _) = greeted(front);
    let before = transitions(&balancer);
    let mut admin = HttpClient::connect(balancer.admin()).expect("the admin address answers");
    let mut count = |result: &str| {
        let page = admin.get("/metrics").expect("an open connection needs no descriptor").body;
        Metrics::parse(&page).sum("evenkeel_health_checks_total", &[("result", result)])
    };
    assert!(count("passed") > 0.0, "and our connection to it is accepted");
    // Below what is open for good.
    balancer.process.limit_descriptors(8);
    wait_until("many more probes than `fall` find no descriptor", SOON, || count("inconclusive") >= 10.0);
    let (passed, failed) = (count("passed"), count("failed"));
    balancer.process.limit_descriptors(1_024);
    wait_until("probes pass again", SOON, || count("passed") > passed);
    assert_eq!((failed, transitions(&balancer)), (0.0, before));
    assert_echo(&mut held);
    let said = balancer.log.events().into_iter().filter(|event| event.message() == "probes are inconclusive").count();
    assert!((1..=5).contains(&said), "the log says so {said} times");
    back.kill();
    wait_until("a backend that is gone is still noticed", SOON, || !up(&balancer, back.addr()));
}

#[test]
fn many_backends_that_hang_hold_up_no_other_pool() {
    // More than may be probed at one time.
    const HANGING: usize = 200;
    let (front, mut back, hole) = (free_addr(), Backend::start(Behaviour::Greet), Blackhole::new());
    let hanging: Vec<_> =
        (0..HANGING).map(|index| format!("{{ name = \"{index}\", address = \"{}\" }}", hole.addr())).collect();
    let config = config(front, &[back.addr()], "")
        .listener("hanging", free_addr(), "hanging", "")
        .pool_of("hanging", &hanging.join(", "), "")
        .health_check("hanging", 60_000, 60_000);
    let balancer = Balancer::spawn(&config, |_| {});
    wait_until("the admin address answers", SOON, || balancer.answers());
    for _ in 0..2 {
        wait_until("it is up", SOON, || up(&balancer, back.addr()));
        assert_echo(&mut greeted(front).0);
        back.kill();
        wait_until("it is down", SOON, || !up(&balancer, back.addr()));
        back.revive();
    }
    assert!(!balancer.is_ready(), "the first clients of the other pool still wait, and theirs alone");
}

#[test]
fn before_the_first_result_a_backend_is_used() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new()
        .listener("main", front, "main", "")
        .pool("main", &[back.addr()], "")
        .health_check("main", 60_000, 1_000);
    let _balancer = Balancer::start(&config);
    // Whether or not the one probe of this minute has come in: ready means that clients are served.
    assert_echo(&mut greeted(front).0);
}

#[test]
fn a_reload_forgets_no_verdict() {
    let (front, dead, good) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let with = |keys| config(front, &[dead, good.addr()], keys);
    let balancer = Balancer::start(&with("policy = \"round-robin\""));
    wait_until("it is down", SOON, || probes(&balancer, "failed") >= 1.0 && !up(&balancer, dead));
    let before = balancer.metrics().sum("evenkeel_backend_connect_errors_total", &[]);
    for keys in ["connect_attempts = 2", "connect_attempts = 1", "policy = \"round-robin\""] {
        balancer.reload_done(&with(keys));
        assert!(!up(&balancer, dead));
        for _ in 0..4 {
            assert_eq!(greeted(front).1, good.addr());
        }
    }
    assert_eq!(balancer.metrics().sum("evenkeel_backend_connect_errors_total", &[]), before, "nobody tried it");
}

fn config(front: SocketAddr, backends: &[SocketAddr], keys: &str) -> Config {
    Config::new().listener("main", front, "main", "").pool("main", backends, keys).health_check(
        "main",
        INTERVAL_MS,
        INTERVAL_MS,
    )
}

/// Probes so far apart that the test, which turns the backend off and on between them, is not overtaken by one even when
/// the machine stalls for a while.
fn calm_config(front: SocketAddr, back: SocketAddr) -> Config {
    Config::new().listener("main", front, "main", "").pool("main", &[back], "").health_check("main", 1_000, 1_000)
}

#[track_caller]
fn up(balancer: &Balancer, backend: SocketAddr) -> bool {
    balancer.metrics().value("evenkeel_backend_up", &[("backend", &backend.to_string())]) == 1.0
}

#[track_caller]
fn probes(balancer: &Balancer, result: &str) -> f64 {
    balancer.metrics().sum("evenkeel_health_checks_total", &[("result", result)])
}

#[track_caller]
fn transitions(balancer: &Balancer) -> f64 {
    balancer.metrics().sum("evenkeel_health_transitions_total", &[])
}
