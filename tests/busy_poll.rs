//! `busy_poll` keeps a worker awake between the events of a busy connection, and lets it sleep when nothing happens.

mod support;

use std::fs;
use std::thread;
use std::time::Duration;

use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::socket::{assert_echo, connect};

/// Far below what one spinning worker takes, far above what an idle process takes.
const AT_REST: f64 = 0.2;

const EXCHANGES: u64 = 2_000;

#[test]
fn a_worker_stays_awake_between_events_and_sleeps_at_rest() {
    let asleep = sleeps("");
    let awake = sleeps("busy_poll = \"1ms\"");
    assert!(asleep > EXCHANGES / 4, "without it a worker sleeps between most requests and replies: {asleep}");
    assert!(awake < asleep / 2, "{awake} sleeps with it, {asleep} without");
}

/// How often the workers went to sleep during the exchanges of one connection.
fn sleeps(keys: &str) -> u64 {
    let backend = Backend::start(Behaviour::Echo);
    let front = free_addr();
    let config = Config::new().top(keys).listener("main", front, "main", "").pool("main", &[backend.addr()], "");
    let balancer = Balancer::start(&config);
    let mut client = connect(front);
    assert_echo(&mut client);

    let before = voluntary_switches(&balancer);
    (0..EXCHANGES).for_each(|_| assert_echo(&mut client));
    let sleeps = voluntary_switches(&balancer) - before;

    let (second, before) = (Duration::from_secs(1), balancer.process.cpu_time());
    // A rate takes a period to be seen.
    thread::sleep(second);
    let share = (balancer.process.cpu_time() - before).as_secs_f64() / second.as_secs_f64();
    assert!(share < AT_REST, "at rest, {keys:?} takes {share:.2} of a CPU");
    sleeps
}

/// Of all worker threads together.
fn voluntary_switches(balancer: &Balancer) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", balancer.process.pid())).expect("it runs");
    let status =
        tasks.map(|task| fs::read_to_string(task.expect("is readable").path().join("status")).expect("it runs"));
    let of_workers: Vec<u64> =
        status.filter(|status| status.starts_with("Name:\tworker")).map(|status| switches(&status)).collect();
    assert_eq!(of_workers.len(), 2, "two workers");
    of_workers.iter().sum()
}

fn switches(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("the kernel counts them").trim().parse().expect("a number")
}
