//! A session that panics harms no other.

mod support;

use std::io::Write;

use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::socket::{assert_echo, connect, wait_reset};
use support::wait::{SOON, wait_until};

/// The listener whose sessions panic when a client sends 0xFF first.
const FAULTY: &str = "faulty";

#[test]
fn a_panic_ends_one_session_and_is_counted() {
    let (front, other, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new().listener(FAULTY, front, "main", "").listener("other", other, "main", "").pool(
        "main",
        &[back.addr()],
        "",
    );
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
