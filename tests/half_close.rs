//! One side ends, the other goes on: nothing is lost after the end, and a peer that never ends does not stay for ever.

mod support;

use std::io::Write;
use std::thread;
use std::time::Duration;

use support::balancer::Balancer;
use support::config::Config;
use support::payload::{receive, send};
use support::port::free_addr;
use support::socket::{addr_of, assert_end, at_end, end, listen, pass_byte, session};
use support::wait::{SOON, at_a_pace, hold_for, wait_until};

/// What must arrive after the other side's end: more than all buffers on the way hold together.
const MUCH: usize = 50 << 20;

#[test]
fn the_backend_sends_50_mib_after_the_clients_end() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, ""));
    let (client, mut backend) = session(front, &back);
    end(&client);
    assert_end(&mut backend);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send(&backend, 1, MUCH).expect("the client takes everything");
            end(&backend);
            sent
        });
        let received = receive(&client).expect("everything arrives and ends cleanly");
        assert_eq!(received, sender.join().expect("the sender does not panic"));
    });
    assert_finished(&balancer, 0.0, MUCH as f64);
}

#[test]
fn the_client_sends_50_mib_after_the_backends_end() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, ""));
    let (mut client, backend) = session(front, &back);
    end(&backend);
    assert_end(&mut client);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send(&client, 2, MUCH).expect("the backend takes everything");
            end(&client);
            sent
        });
        let received = receive(&backend).expect("everything arrives and ends cleanly");
        assert_eq!(received, sender.join().expect("the sender does not panic"));
    });
    assert_finished(&balancer, MUCH as f64, 0.0);
}

#[test]
fn an_end_right_behind_the_data_overtakes_nothing() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, ""));
    // Around the sizes at which buffers, pipes and tiers change.
    let sizes = [1, 64, 16 << 10, (16 << 10) + 1, 64 << 10, 256 << 10, (256 << 10) + 1, 1 << 20, (4 << 20) + 7];
    for (seed, size) in (0..).zip(sizes) {
        let (client, backend) = session(front, &back);
        thread::scope(|scope| {
            let up = scope.spawn(|| {
                let sent = send(&client, seed, size).expect("the backend takes everything");
                end(&client);
                sent
            });
            let down = scope.spawn(|| {
                let sent = send(&backend, !seed, size).expect("the client takes everything");
                end(&backend);
                sent
            });
            let at_client = scope.spawn(|| receive(&client).expect("a clean end at the client"));
            let at_backend = receive(&backend).expect("a clean end at the backend");
            assert_eq!(at_backend, up.join().expect("no panic"), "upstream, {size} bytes");
            assert_eq!(at_client.join().expect("no panic"), down.join().expect("no panic"), "downstream, {size} bytes");
        });
    }
    balancer.wait_idle(SOON);
}

#[test]
fn a_session_that_ends_without_a_byte_is_finished() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, ""));
    let (mut client, mut backend) = session(front, &back);
    end(&client);
    assert_end(&mut backend);
    end(&backend);
    assert_end(&mut client);
    assert_finished(&balancer, 0.0, 0.0);
}

#[test]
fn a_peer_that_never_ends_is_gone_after_half_close_timeout() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, "half_close_timeout = \"1s\""));
    for client_first in [true, false] {
        let (mut client, mut backend) = session(front, &back);
        pass_byte(&mut client, &mut backend);
        pass_byte(&mut backend, &mut client);
        let (first, mut never) = if client_first { (client, backend) } else { (backend, client) };
        end(&first);
        assert_end(&mut never);
        balancer.wait_idle(SOON);
        wait_until("the side that never ended is cut off", SOON, || never.write_all(b"?").is_err());
        balancer.wait_no_close_wait();
    }
    for index in 0..2 {
        let record = balancer.log.nth_session(index, SOON);
        assert_eq!(record.text("reason"), "half-close-timeout");
        assert_eq!(record.text("side"), "us");
    }
}

#[test]
fn both_peers_silent_after_one_end_are_closed_on_time() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, "half_close_timeout = \"1s\""));
    let (client, mut backend) = session(front, &back);
    end(&client);
    assert_end(&mut backend);
    let record = balancer.log.only_session();
    assert_eq!(record.text("reason"), "half-close-timeout");
    let total_ms = record.number("total_ms");
    assert!((1_000.0..3_000.0).contains(&total_ms), "closed after {total_ms} ms");
    assert!(at_end(&backend) && at_end(&client), "both sides are closed");
    balancer.wait_no_close_wait();
}

#[test]
fn a_half_closed_session_that_moves_lives_beyond_the_limit() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, "half_close_timeout = \"1s\""));
    let (mut client, mut backend) = session(front, &back);
    end(&client);
    assert_end(&mut backend);
    at_a_pace(Duration::from_millis(200), 15, |_| pass_byte(&mut backend, &mut client));
    end(&backend);
    assert_end(&mut client);
    assert_finished(&balancer, 0.0, 15.0);
}

#[test]
fn the_limit_of_a_half_closed_session_does_not_touch_whole_ones() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back, "half_close_timeout = \"1s\""));
    let (mut client, mut backend) = session(front, &back);
    hold_for("the session is open", Duration::from_secs(3), || balancer.active_sessions() == 1.0);
    pass_byte(&mut client, &mut backend);
    pass_byte(&mut backend, &mut client);
}

fn config(front: std::net::SocketAddr, back: &std::net::TcpListener, keys: &str) -> Config {
    Config::new().listener("main", front, "main", keys).pool("main", &[addr_of(back)], "")
}

/// Asserts that the one session ended well after these bytes, and left nothing behind.
#[track_caller]
fn assert_finished(balancer: &Balancer, bytes_up: f64, bytes_down: f64) {
    let record = balancer.log.only_session();
    assert_eq!(record.text("reason"), "finished");
    assert_eq!((record.number("bytes_up"), record.number("bytes_down")), (bytes_up, bytes_down));
    balancer.wait_idle(SOON);
    balancer.wait_no_close_wait();
    let metrics = balancer.metrics();
    let bytes = |direction| metrics.sum("evenkeel_backend_bytes_total", &[("direction", direction)]);
    assert_eq!((bytes("upstream"), bytes("downstream")), (bytes_up, bytes_down));
    let closed = [("listener", "main"), ("pool", "main"), ("reason", "finished")];
    assert_eq!(metrics.value("evenkeel_sessions_closed_total", &closed), 1.0);
}
