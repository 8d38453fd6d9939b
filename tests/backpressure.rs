//! Receivers that do not read: what is kept for each is bounded, the others do not notice, and nothing is lost when
//! they read again.

mod support;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::payload::{Digested, Stream, receive};
use support::port::free_addr;
use support::socket::{accept, addr_of, assert_echo, connect, connect_narrow, end, listen_narrow, pass_byte};
use support::wait::{SOON, wait_until};

/// Half of them are clients and half backends.
const STALLED: usize = 200;

/// The most that a session may keep of the balancer's own memory: one buffer of 256 KiB for what the receiver would not
/// take, and 16 KiB for everything else.
const RESIDENT_PER_SESSION: u64 = (256 + 16) * 1024;

#[test]
fn stalled_receivers_cost_little_and_lose_nothing() {
    let (front, back) = (free_addr(), listen_narrow());
    let (other_front, other_back) = (free_addr(), Backend::start(Behaviour::Echo));
    let config = Config::new()
        .listener("stalled", front, "stalled", "")
        .listener("other", other_front, "other", "")
        .pool("stalled", &[addr_of(&back)], "")
        .pool("other", &[other_back.addr()], "");
    let balancer = Balancer::start(&config);
    let mut other = connect(other_front);
    assert_echo(&mut other);
    let sessions = open_sessions(front, &back);
    let before = balancer.process.resident_bytes();

    let (moved, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let senders: Vec<_> = (0..)
            .zip(&sessions)
            .map(|(seed, session)| {
                let (moved, enough) = (&moved, &enough);
                scope.spawn(move || send_until(&session.sender, seed, moved, enough))
            })
            .collect();
        wait_until_still(&moved);
        let grown = balancer.process.resident_bytes().saturating_sub(before);
        let (bound, sent) = (STALLED as u64 * RESIDENT_PER_SESSION, moved.load(Ordering::Relaxed));
        eprintln!("{sent} bytes under way, {grown} bytes of growth, {} a session", grown / STALLED as u64);
        assert!(grown <= bound, "{grown} bytes of growth for {STALLED} sessions, at most {bound}");

        for _ in 0..100 {
            let started = Instant::now();
            assert_echo(&mut other);
            assert_echo(&mut connect(other_front));
            assert!(started.elapsed() < Duration::from_secs(1), "another session waited {:?}", started.elapsed());
        }

        enough.store(true, Ordering::Relaxed);
        for (sender, session) in senders.into_iter().zip(&sessions) {
            // The sender is blocked until its receiver reads.
            let received = receive(&session.receiver).expect("everything arrives and ends cleanly");
            let sent = sender.join().expect("a sender does not panic").expect("the receiver takes everything");
            assert_eq!(received, sent);
        }
    });
    drop((sessions, other));
    balancer.wait_idle(SOON);
}

/// One session: who sends without pause and who does not read.
struct Stalled {
    sender: TcpStream,
    receiver: TcpStream,
}

fn open_sessions(front: SocketAddr, back: &TcpListener) -> Vec<Stalled> {
    (0..STALLED)
        .map(|index| {
            let mut client = connect_narrow(front);
            let mut backend = accept(back);
            pass_byte(&mut client, &mut backend);
            match index % 2 {
                0 => Stalled { sender: client, receiver: backend },
                _ => Stalled { sender: backend, receiver: client },
            }
        })
        .collect()
}

/// Sends the stream of `seed` block after block until told that it is `enough`, then ends.
fn send_until(mut to: &TcpStream, seed: u64, moved: &AtomicU64, enough: &AtomicBool) -> io::Result<Digested> {
    let mut stream = Stream::new(seed);
    let mut block = vec![0; 64 * 1024];
    while !enough.load(Ordering::Relaxed) {
        stream.fill(&mut block);
        to.write_all(&block)?;
        moved.fetch_add(block.len() as u64, Ordering::Relaxed);
    }
    end(to);
    Ok(stream.finish())
}

/// Waits until no sender has got rid of a block for half a second: all of them are stalled.
fn wait_until_still(moved: &AtomicU64) {
    const STILL: Duration = Duration::from_millis(500);
    let mut last = (moved.load(Ordering::Relaxed), Instant::now());
    wait_until("every sender is stalled", Duration::from_secs(60), || {
        let now = moved.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        now > 0 && last.1.elapsed() >= STILL
    });
}
