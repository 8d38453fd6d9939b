//! Long-lived sessions, few or many, end up spread evenly over the workers, however the kernel spread the connections.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::thread;

use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::socket::{assert_echo, connect};
use support::wait::{SOON, wait_until};

const TRIALS: usize = 100;

#[test]
fn one_after_the_other() {
    spread_evenly(|front, count| (0..count).map(|_| served(front)).collect());
}

#[test]
fn all_at_once() {
    spread_evenly(|front, count| {
        let clients: Vec<_> = (0..count).map(|_| thread::spawn(move || served(front))).collect();
        clients.into_iter().map(|client| client.join().expect("is served")).collect()
    });
}

/// With 2 workers, half of the sessions are with each, in every trial.
fn spread_evenly(open: impl Fn(SocketAddr, usize) -> Vec<TcpStream>) {
    let backend = Backend::start(Behaviour::Echo);
    let front = free_addr();
    let config =
        Config::new().listener("main", front, "main", "access_log = false").pool("main", &[backend.addr()], "");
    let balancer = Balancer::start(&config);
    for count in [2, 4, 8] {
        for trial in 0..TRIALS {
            let sessions = open(front, count);
            let metrics = balancer.metrics();
            let on = |worker| metrics.value("evenkeel_worker_sessions_active", &[("worker", worker)]);
            let half = count as f64 / 2.0;
            assert_eq!((on("0"), on("1")), (half, half), "trial {trial} of {count} sessions");
            drop(sessions);
            balancer.wait_idle(SOON);
        }
    }
    let handed_over = balancer.metrics().sum("evenkeel_worker_sessions_handed_over_total", &[]);
    assert!(handed_over > TRIALS as f64, "the kernel's own spread is not even: {handed_over}");
    wait_until("the backend sees nobody", SOON, || backend.open() == 0);
}

/// A session that has got through to the backend.
fn served(front: SocketAddr) -> TcpStream {
    let mut stream = connect(front);
    assert_echo(&mut stream);
    stream
}
