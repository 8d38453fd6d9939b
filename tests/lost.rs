//! A client or a backend whose machine is gone is noticed within about a minute, even while the other side talks on; one
//! that merely does not read is left alone.
//!
//! In a network namespace of its own, where routes can be taken away.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::balancer::Balancer;
use support::config::Config;
use support::namespace::{in_namespace, ip};
use support::port::free_addr;
use support::socket::{accept, addr_of, connect_from, flood, listen, pass_byte, session};
use support::wait::wait_until;

/// Thirty seconds without an answer, seen at the next checkup but one, and some patience.
const NOTICED_WITHIN: Duration = Duration::from_secs(75);

#[test]
fn who_is_gone_is_noticed_and_who_does_not_read_is_not() {
    in_namespace("who_is_gone_is_noticed_and_who_does_not_read_is_not", lose_some);
}

fn lose_some() {
    let gone_backend = std::net::TcpListener::bind((Ipv4Addr::new(127, 0, 0, 3), 0)).expect("a free port");
    let living_backend = listen();
    let (to_gone, to_living) = (free_addr(), free_addr());
    let config = Config::new()
        .listener("to-gone", to_gone, "gone", "")
        .listener("to-living", to_living, "living", "")
        .pool("gone", &[addr_of(&gone_backend)], "")
        .pool("living", &[addr_of(&living_backend)], "");
    let balancer = Balancer::start(&config);

    let (mut talker, _unheard) = session(to_gone, &gone_backend);
    let (_vanished, mut pusher) = session_from(4, to_living, &living_backend);
    let (mut patient, mut ignorant) = session(to_living, &living_backend);
    pass_byte(&mut patient, &mut ignorant);
    flood(&mut patient);
    for last in [3, 4] {
        ip(&["route", "add", "blackhole", &format!("127.0.0.{last}/32"), "table", "local"]);
    }

    let since = Instant::now();
    wait_until("both sessions with who is gone are over", NOTICED_WITHIN, || {
        // Whoever is left goes on talking: that must not hide that nobody answers.
        let _ = (talker.write(b"."), pusher.write(b"."));
        balancer.log.sessions().len() >= 2
    });
    assert!(since.elapsed() > Duration::from_secs(25), "nobody is given up after {:?}", since.elapsed());
    let mut reasons: Vec<_> = balancer.log.sessions().iter().map(|record| record.text("reason").to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["backend-lost", "client-lost"]);

    assert_alive(&mut patient, &mut ignorant);
}

/// The receiver reads at last, and gets something.
fn assert_alive(sender: &mut TcpStream, receiver: &mut TcpStream) {
    sender.set_nonblocking(true).expect("a socket");
    let error = sender.write(b"more").map_or_else(|error| error.kind(), |_| ErrorKind::WouldBlock);
    assert_eq!(error, ErrorKind::WouldBlock, "the session still waits for its receiver");
    let mut chunk = [0; 4_096];
    assert!(receiver.read(&mut chunk).expect("the session lives") > 0);
}

/// A session whose client has the address 127.0.0.`last`.
fn session_from(last: u8, front: SocketAddr, back: &std::net::TcpListener) -> (TcpStream, TcpStream) {
    let mut client = connect_from(last, front);
    let mut backend = accept(back);
    pass_byte(&mut client, &mut backend);
    (client, backend)
}
