//! Between accepting a client and reaching a backend: other backends are tried, and a client that leaves is noticed.

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::blackhole::Blackhole;
use support::config::Config;
use support::port::free_addr;
use support::socket::{assert_echo, assert_refused, connect, end, reset};
use support::wait::{SOON, hold_for, wait_until};

/// What is measured in milliseconds is measured by one test at a time; none of the others takes long or much.
static MEASURING: Mutex<()> = Mutex::new(());

/// Longer than any of these tests waits: what ends a session here is the client, never this.
const PATIENT: &str = "connect_timeout = \"20s\"\nconnect_attempts = 1";

#[test]
fn a_client_that_resets_during_connect_ends_the_session_at_once() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, hole) = (free_addr(), Blackhole::new());
    let balancer = Balancer::start(&config(front, &[hole.addr()], PATIENT));
    let client = connect(front);
    wait_until("the session is connecting", SOON, || balancer.active_sessions() == 1.0);
    reset(&client);
    wait_until("the session is over", Duration::from_millis(300), || balancer.active_sessions() == 0.0);
    assert_client_left(&balancer);
}

#[test]
fn a_client_that_closes_during_connect_ends_the_session_soon() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, hole) = (free_addr(), Blackhole::new());
    let balancer = Balancer::start(&config(front, &[hole.addr()], PATIENT));
    let client = connect(front);
    wait_until("the session is connecting", SOON, || balancer.active_sessions() == 1.0);
    drop(client);
    wait_until("the session is over", Duration::from_secs(2), || balancer.active_sessions() == 0.0);
    assert_client_left(&balancer);
}

#[test]
fn a_client_that_sends_and_closes_during_connect_ends_the_session_with_its_reset() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, hole) = (free_addr(), Blackhole::new());
    let balancer = Balancer::start(&config(front, &[hole.addr()], PATIENT));
    let mut client = connect(front);
    client.write_all(b"never answered").expect("the balancer accepted");
    wait_until("the session is connecting", SOON, || balancer.active_sessions() == 1.0);
    reset(&client);
    wait_until("the session is over", Duration::from_millis(300), || balancer.active_sessions() == 0.0);
    assert_client_left(&balancer);
}

#[test]
fn a_request_that_was_ended_during_a_slow_connect_is_answered() {
    let (front, hole) = (free_addr(), Blackhole::new());
    let balancer = Balancer::start(&config(front, &[hole.addr()], PATIENT));
    let mut client = connect(front);
    client.write_all(b"one question, and no more").expect("the balancer accepted");
    end(&client);
    wait_until("the session is connecting", SOON, || balancer.active_sessions() == 1.0);
    hole.come_alive_as_echo();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer and a clean end");
    assert_eq!(answer, "one question, and no more");
    assert_eq!(balancer.log.only_session().text("reason"), "finished");
}

#[test]
fn a_patient_client_is_connected_when_the_backend_comes_alive() {
    let (front, hole) = (free_addr(), Blackhole::new());
    let balancer = Balancer::start(&config(front, &[hole.addr()], PATIENT));
    let mut client = connect(front);
    hold_for("the session waits", Duration::from_millis(300), || balancer.active_sessions() <= 1.0);
    hole.come_alive_as_echo();
    assert_echo(&mut client);
    drop(client);
    let record = balancer.log.only_session();
    assert!(record.number("connect_ms") >= 300.0, "connected in {} ms", record.number("connect_ms"));
}

#[test]
fn a_backend_that_refuses_is_passed_over_and_the_client_sees_nothing() {
    let (front, dead, good) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let balancer = Balancer::start(&config(front, &[dead, good.addr()], "policy = \"round-robin\""));
    for _ in 0..10 {
        let (mut client, reached) = greeted(front);
        assert_eq!(reached, good.addr());
        assert_echo(&mut client);
    }
    balancer.wait_idle(SOON);

    let metrics = balancer.metrics();
    let (dead, good) = (dead.to_string(), good.addr().to_string());
    let refused = metrics
        .sum("evenkeel_backend_connect_errors_total", &[("pool", "main"), ("backend", &dead), ("reason", "refused")]);
    assert!(refused >= 1.0, "round robin never began with the dead backend");
    let retries = metrics.sum("evenkeel_backend_retries_total", &[("backend", &good)]);
    assert_eq!(retries, refused, "every refusal led to the other backend");
    wait_until("ten sessions are recorded", SOON, || balancer.log.sessions().len() == 10);
    let sessions = balancer.log.sessions();
    let retried = sessions.iter().filter(|record| record.text("tried") == format!("{dead},{good}")).count();
    assert_eq!(retried, sessions.len() - sessions.iter().filter(|record| record.text("tried") == good).count());
    assert_eq!(retried as f64, refused, "the access log names both, in order");
    assert!(sessions.iter().all(|record| record.text("backend") == good));
}

#[test]
fn a_silent_backend_is_passed_over_after_connect_timeout() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, hole, good) = (free_addr(), Blackhole::new(), Backend::start(Behaviour::Greet));
    let keys = "policy = \"round-robin\"\nconnect_timeout = \"200ms\"";
    let balancer = Balancer::start(&config(front, &[hole.addr(), good.addr()], keys));
    for _ in 0..4 {
        let (_client, reached) = greeted(front);
        assert_eq!(reached, good.addr());
    }
    let hole = hole.addr().to_string();
    let timeouts = [("backend", hole.as_str()), ("reason", "timeout")];
    assert!(balancer.metrics().sum("evenkeel_backend_connect_errors_total", &timeouts) >= 1.0);
}

#[test]
fn the_idle_limit_starts_when_the_session_is_connected() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, hole, good) = (free_addr(), Blackhole::new(), Backend::start(Behaviour::Greet));
    let pool = "policy = \"round-robin\"\nconnect_timeout = \"1s\"";
    let config = Config::new().listener("l", front, "p", "idle_timeout = \"300ms\"").pool(
        "p",
        &[hole.addr(), good.addr()],
        pool,
    );
    let balancer = Balancer::start(&config);
    let sessions = [greeted(front), greeted(front)];
    for (_, reached) in &sessions {
        assert_eq!(*reached, good.addr(), "connecting took longer than the idle limit, and was not idle");
    }
    wait_until("both sessions are idle in the end", SOON, || balancer.log.sessions().len() == 2);
    assert!(balancer.log.sessions().iter().all(|record| record.text("reason") == "idle-timeout"));
}

#[test]
fn connect_attempts_bounds_the_backends_tried() {
    let (front, dead) = (free_addr(), [free_addr(), free_addr(), free_addr()]);
    let balancer = Balancer::start(&config(front, &dead, "connect_attempts = 2"));
    assert_refused(front);
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("side")), ("connect-failed", "upstream"));
    let tried: Vec<&str> = record.text("tried").split(',').collect();
    assert_eq!(tried.len(), 2, "{tried:?}");
    assert_ne!(tried[0], tried[1], "two attempts go to two backends");
    assert_eq!(balancer.metrics().sum("evenkeel_backend_connect_errors_total", &[("reason", "refused")]), 2.0);
}

#[test]
fn fewer_backends_than_attempts_are_each_tried_once() {
    let (front, dead) = (free_addr(), free_addr());
    let balancer = Balancer::start(&config(front, &[dead], "connect_attempts = 3"));
    assert_refused(front);
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("tried")), ("connect-failed", dead.to_string().as_str()));
}

/// Asserts that the client is said to have left and no backend to have failed.
#[track_caller]
fn assert_client_left(balancer: &Balancer) {
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("side")), ("client-left", "downstream"));
    let metrics = balancer.metrics();
    assert_eq!(metrics.sum("evenkeel_backend_connect_errors_total", &[]), 0.0, "nobody failed but the client");
    assert_eq!(metrics.sum("evenkeel_backend_sessions_active", &[]), 0.0);
    assert_eq!(metrics.sum("evenkeel_sessions_closed_total", &[("reason", "client-left")]), 1.0);
}

fn config(front: SocketAddr, backends: &[SocketAddr], keys: &str) -> Config {
    Config::new().listener("main", front, "main", "").pool("main", backends, keys)
}
