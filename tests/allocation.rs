//! Nothing is allocated on the path of a datagram: the program runs in this process, whose allocations are counted.

mod support;

use std::alloc::System;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use evenkeel::app::{self, App};
use evenkeel::config::Config;
use evenkeel::control::reload::ReloadFrom;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::port::free_addr;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const DATAGRAMS: usize = 5_000;

/// Clocks and housekeeping of all threads allocate now and then; a datagram that did would make fifty times as many.
const ALLOWED: usize = DATAGRAMS / 50;

#[test]
fn a_datagram_costs_no_allocation() {
    for keys in ["", "per_packet = true"] {
        let backend = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        backend.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket takes a timeout");
        let text = format!(
            "workers = 1\n[listeners.main]\nbind = [\"{}\"]\nprotocol = \"udp\"\npool = \"main\"\n{keys}\n\
             [pools.main]\nbackends = [\"{}\"]",
            free_addr(),
            backend.local_addr().expect("bound"),
        );
        let config = Config::parse("test", &text, &app::machine()).expect("a configuration");
        let app = App::start(config, ReloadFrom::Nowhere, None, |_config| {}).expect("it starts");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        client.connect(app.bound()[0].1).expect("it is bound");
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket takes a timeout");
        let is_over = AtomicBool::new(false);
        let allocations = thread::scope(|scope| {
            scope.spawn(|| echo(&backend, &is_over));
            exchange(&client, 100);
            let region = Region::new(ALLOCATOR);
            exchange(&client, DATAGRAMS);
            let change = region.change();
            is_over.store(true, Ordering::Relaxed);
            change.allocations + change.reallocations
        });
        assert!(allocations < ALLOWED, "{allocations} for {DATAGRAMS} datagrams there and back, with {keys:?}");
        app.shut_down();
        app.join().expect("it ends in order");
    }
}

fn exchange(client: &UdpSocket, datagrams: usize) {
    for _ in 0..datagrams {
        client.send(b"question").expect("sent");
        client.recv(&mut [0; 16]).expect("an answer");
    }
}

fn echo(backend: &UdpSocket, is_over: &AtomicBool) {
    let mut bytes = [0; 16];
    while !is_over.load(Ordering::Relaxed) {
        if let Ok((length, client)) = backend.recv_from(&mut bytes) {
            let _sent = backend.send_to(&bytes[..length], client);
        }
    }
}
