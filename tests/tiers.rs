//! How bytes move: much of them through pipes, which are held only while bytes are in them, and little without.

mod support;

use std::io::{Read, Write};
use std::thread;

use support::balancer::Balancer;
use support::config::Config;
use support::payload::{receive, send};
use support::port::free_addr;
use support::socket::{addr_of, assert_end, end, flood, listen, pass_byte, session};
use support::wait::{SOON, wait_until};

/// What the harness configures; each has pipes of its own.
const WORKERS: usize = 2;

/// Descriptors of one pipe.
const ENDS: usize = 2;

#[test]
fn much_is_spliced_and_little_is_copied() {
    let (front, back) = (free_addr(), listen());
    let config = Config::new().listener("l", front, "p", "").pool("p", &[addr_of(&back)], "");
    let balancer = Balancer::start(&config);
    let pipes = || balancer.process.descriptors().pipes;
    let none = pipes();

    let (mut client, mut backend) = session(front, &back);
    for _ in 0..100 {
        pass_byte(&mut client, &mut backend);
    }
    assert_eq!(pipes(), none, "small messages need no pipe");

    let sent = flood(&mut client);
    wait_until("the flood waits in a pipe", SOON, || pipes() == none + ENDS);
    let mut flooded = vec![0; usize::try_from(sent).expect("fits in memory")];
    backend.read_exact(&mut flooded).expect("all of it arrives");
    assert!(flooded.iter().all(|byte| *byte == 0x5a));

    // The pipe has come back: it serves the next sessions one after the other, and small messages do without again.
    for _ in 0..100 {
        pass_byte(&mut client, &mut backend);
    }
    for seed in 0..4 {
        let (from, to) = session(front, &back);
        let sending = thread::spawn(move || {
            let digest = send(&from, seed, 4 << 20).expect("sends");
            end(&from);
            (digest, from)
        });
        let received = receive(&to).expect("receives");
        let (sent, mut from) = sending.join().expect("the sender does not panic");
        assert_eq!(received, sent);
        end(&to);
        assert_end(&mut from);
        assert!(pipes() <= none + WORKERS * ENDS, "one pipe of each worker serves all of them");
    }
}

#[test]
fn a_stalled_session_holds_a_pipe_and_gives_it_back() {
    let (front, back) = (free_addr(), listen());
    let config = Config::new().listener("l", front, "p", "").pool("p", &[addr_of(&back)], "");
    let balancer = Balancer::start(&config);
    let pipes = || balancer.process.descriptors().pipes;
    let none = pipes();
    let mut stalled: Vec<_> = (0..3).map(|_| session(front, &back)).collect();
    for (client, _) in &mut stalled {
        flood(client);
    }
    wait_until("every stalled session holds a pipe", SOON, || pipes() == none + 3 * ENDS);
    drop(stalled);
    balancer.wait_idle(SOON);
    wait_until("pipes with bytes in them are closed", SOON, || pipes() == none);
}

#[test]
fn held_sessions_are_spread_over_the_workers() {
    const HELD: usize = 40;
    let (front, back) = (free_addr(), listen());
    let config = Config::new().listener("l", front, "p", "").pool("p", &[addr_of(&back)], "");
    let balancer = Balancer::start(&config);
    // One by one: the kernel's hash alone would put about as many on each worker only by chance.
    let mut held = Vec::new();
    for count in 1..=HELD {
        let (mut client, mut backend) = session(front, &back);
        pass_byte(&mut client, &mut backend);
        held.push((client, backend));
        let metrics = balancer.metrics();
        let on = |worker: &str| metrics.value("evenkeel_worker_sessions_active", &[("worker", worker)]);
        let difference = (on("0") - on("1")).abs();
        let allowed = 1.0 + (count as f64 / 2.0 / 8.0).ceil();
        assert!(difference <= allowed, "{} and {} of {count} sessions", on("0"), on("1"));
    }
    let metrics = balancer.metrics();
    assert!(metrics.sum("evenkeel_worker_sessions_handed_over_total", &[]) > 0.0, "none was handed over");
    for (client, _) in &mut held {
        client.write_all(b"x").expect("the session lives");
    }
}
