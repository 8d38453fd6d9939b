//! Stopping: sessions finish, up to a limit; a second signal waits for nobody. And the exit codes of not starting.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::config::Config;
use support::metrics::HttpClient;
use support::port::free_addr;
use support::socket::{assert_echo, assert_end, connect, end, wait_closed, wait_reset};
use support::wait::{SOON, wait_until};

#[test]
fn a_stop_waits_for_the_sessions_and_takes_no_more() {
    for signal in [Signal::TERM, Signal::INT] {
        let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
        let mut balancer = Balancer::start(&config(front, &back, "30s"));
        let (mut held, _) = greeted(front);
        balancer.process.signal(signal);
        wait_closed(front);
        let mut admin = HttpClient::connect(balancer.admin()).expect("the admin address answers to the end");
        assert_ne!(admin.get("/readyz").expect("an answer").status, 200, "not ready any more");
        assert_eq!(admin.get("/livez").expect("an answer").status, 200, "but alive");
        for _ in 0..5 {
            assert_echo(&mut held);
        }
        end(&held);
        assert_end(&mut held);
        let stopped = Instant::now();
        assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
        assert!(stopped.elapsed() < Duration::from_secs(5), "it left with its last session");
        // Clients that came while the listener was closing may stand before it.
        let sessions = balancer.log.sessions();
        assert_eq!(sessions.last().expect("the held session is recorded").text("reason"), "finished");
    }
}

#[test]
fn an_idle_process_stops_at_once() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let mut balancer = Balancer::start(&config(front, &back, "30s"));
    let stopped = Instant::now();
    balancer.process.signal(Signal::TERM);
    assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
    assert!(stopped.elapsed() < Duration::from_secs(5), "stopped after {:?}", stopped.elapsed());
}

#[test]
fn shutdown_timeout_bounds_the_wait() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let mut balancer = Balancer::start(&config(front, &back, "1s"));
    let (held, _) = greeted(front);
    let stopped = Instant::now();
    balancer.process.signal(Signal::TERM);
    assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
    let elapsed = stopped.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&elapsed), "stopped after {elapsed:?}");
    wait_reset("the session that was cut", &held, SOON);
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("side")), ("shutdown", "us"));
    wait_until("the backend's side is closed", SOON, || back.open() == 0);
}

#[test]
fn a_second_signal_stops_at_once() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let mut balancer = Balancer::start(&config(front, &back, "60s"));
    let (held, _) = greeted(front);
    balancer.process.signal(Signal::TERM);
    wait_closed(front);
    let second = Instant::now();
    balancer.process.signal(Signal::TERM);
    balancer.wait_exit(SOON);
    assert!(second.elapsed() < Duration::from_secs(2), "stopped after {:?}", second.elapsed());
    wait_reset("the session that was cut", &held, SOON);
}

#[test]
fn a_bad_configuration_exits_with_1_and_says_where() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let wrong = Config::new().listener("main", front, "nowhere", "").pool("main", &[back.addr()], "");
    let mut balancer = Balancer::spawn(&wrong, |_| {});
    assert_eq!(balancer.wait_exit(SOON).code(), Some(1));
    let said = balancer.log.text();
    assert!(said.contains("nowhere") && said.contains("evenkeel.toml"), "{said}");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    for arguments in [&["run", "--no-such-flag"][..], &["no-such-command"], &["run"]] {
        let status = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("the binary under test starts");
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_address_that_is_taken_exits_with_3_and_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken_addr = taken.local_addr().expect("a bound socket has an address");
    let back = Backend::start(Behaviour::Greet);
    let mut balancer = Balancer::spawn(&config(taken_addr, &back, "1s"), |_| {});
    assert_eq!(balancer.wait_exit(SOON).code(), Some(3));
    let said = balancer.log.text();
    assert!(said.contains(&taken_addr.to_string()), "{said}");
}

#[test]
fn clients_are_served_until_the_signal() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Echo));
    let mut balancer = Balancer::start(&config(front, &back, "30s"));
    let mut clients: Vec<_> = (0..20).map(|_| connect(front)).collect();
    clients.iter_mut().for_each(assert_echo);
    balancer.process.signal(Signal::TERM);
    clients.iter_mut().for_each(assert_echo);
    drop(clients);
    assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
    assert_eq!(balancer.log.sessions().len(), 20, "every session is recorded before the end");
}

fn config(front: SocketAddr, back: &Backend, shutdown_timeout: &str) -> Config {
    Config::new().top(&format!("shutdown_timeout = \"{shutdown_timeout}\"")).listener("main", front, "main", "").pool(
        "main",
        &[back.addr()],
        "",
    )
}
