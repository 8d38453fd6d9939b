//! What panics harms nobody else: neither a session nor what forwards datagrams.

mod support;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use signal_hook::consts::SIGABRT;
use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, ask, client};
use support::port::free_addr;
use support::socket::{assert_echo, assert_refused, connect, wait_reset};
use support::wait::{SOON, wait_until};

/// The listener that panics when a client sends 0xFF first, or in a datagram of its own.
const FAULTY: &str = "faulty";

/// The faulty listener and another one, with one backend for both.
fn faulty_and_other(front: SocketAddr, other: SocketAddr, back: &Backend) -> Config {
    let listeners = Config::new().listener(FAULTY, front, "main", "").listener("other", other, "main", "");
    listeners.pool("main", &[back.addr()], "")
}

#[test]
fn a_panic_ends_one_session_and_is_counted() {
    let (front, other, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let config = faulty_and_other(front, other, &back);
    let balancer = Balancer::start_with(&config, |command| {
        command.env("EVENKEEL_FAULT_PANIC", FAULTY);
    });
    // Enough for some of them to live on the worker of the one that panics.
    let mut others: Vec<_> = (0..16).map(|_| greeted(other).0).collect();
    others.iter_mut().for_each(assert_echo);

    for panics in 1..=3 {
        let mut faulty = connect(front);
        faulty.write_all(&[0xff]).expect("the session takes a byte");
        wait_reset("the session that panicked", &faulty, SOON);
        wait_until("it is counted", SOON, || {
            balancer.metrics().value("evenkeel_session_panics_total", &[]) == f64::from(panics)
        });
        others.iter_mut().for_each(assert_echo);
    }
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("evenkeel_sessions_closed_total", &[("reason", "panicked")]), 3.0);
    assert_eq!(metrics.sum("evenkeel_listener_sessions_active", &[]), 16.0);
    assert_eq!(metrics.sum("evenkeel_backend_sessions_active", &[]), 16.0);
    let (mut fresh, _) = greeted(other);
    assert_echo(&mut fresh);

    drop((fresh, others));
    balancer.wait_idle(SOON);
    wait_until("the backend's sides are closed too", SOON, || back.open() == 0);
}

#[test]
fn a_panic_while_a_session_is_set_up_costs_that_session() {
    let (front, other, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let config = faulty_and_other(front, other, &back);
    let balancer = Balancer::start_with(&config, |command| {
        command.env("EVENKEEL_FAULT_PANIC_AT_START", FAULTY);
    });
    let mut others: Vec<_> = (0..16).map(|_| greeted(other).0).collect();
    // Some of them are handed to the other worker first.
    for panics in 1..=8 {
        assert_refused(front);
        wait_until("it is counted", SOON, || {
            balancer.metrics().value("evenkeel_session_panics_total", &[]) == f64::from(panics)
        });
        others.iter_mut().for_each(assert_echo);
    }
    let (fresh, _) = greeted(other);
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("evenkeel_sessions_closed_total", &[("reason", "panicked")]), 8.0);
    drop((fresh, others));
    balancer.wait_idle(SOON);
}

#[test]
fn a_worker_that_panics_ends_the_process_and_the_log_says_so() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, config.text()).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["run", "-c"])
        .arg(file.path())
        .env("EVENKEEL_FAULT_PANIC_WORKER", "1")
        .output()
        .expect("it ends by itself");
    assert_eq!(output.status.signal(), Some(SIGABRT), "{output:?}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("panicked") && log.contains("a test asked for this panic"), "{log}");
}

#[test]
fn a_panic_over_udp_costs_the_flows_of_one_address_and_is_counted() {
    let (front, other, tcp) = (free_addr(), free_addr(), free_addr());
    let (echo, back) = (Echo::start(), Backend::start(Behaviour::Greet));
    let config = Config::new()
        .udp_listener(FAULTY, front, "datagrams", "")
        .udp_listener("other", other, "datagrams", "")
        .listener("tcp", tcp, "main", "")
        .pool("datagrams", &[echo.addr()], "")
        .pool("main", &[back.addr()], "");
    let balancer = Balancer::start_with(&config, |command| {
        command.env("EVENKEEL_FAULT_PANIC", FAULTY);
    });
    let mut sessions: Vec<_> = (0..4).map(|_| greeted(tcp).0).collect();
    let clients = |front| (0..8).map(|_| client(front)).collect::<Vec<_>>();
    let (faulty, others) = (clients(front), clients(other));
    let all_are_answered = |clients: &[UdpSocket]| clients.iter().all(|client| ask(client, b"still there?").is_ok());
    assert!(all_are_answered(&faulty) && all_are_answered(&others));

    faulty[0].send(&[0xff]).expect("sent");
    wait_until("it is counted", SOON, || balancer.metrics().value("evenkeel_session_panics_total", &[]) == 1.0);
    sessions.iter_mut().for_each(assert_echo);
    assert!(all_are_answered(&others), "on the same workers");
    assert!(all_are_answered(&faulty), "as new flows");
    let metrics = balancer.metrics();
    let ended = metrics.sum("evenkeel_flows_closed_total", &[("reason", "panicked")]);
    assert!((1.0..=8.0).contains(&ended), "those of one worker: {ended}");
    assert_eq!(metrics.sum("evenkeel_flows_closed_total", &[]), ended);
    assert_eq!(metrics.sum("evenkeel_listener_flows_active", &[]), 16.0);
    assert_eq!(metrics.sum("evenkeel_backend_sessions_active", &[("pool", "datagrams")]), 16.0);
}
