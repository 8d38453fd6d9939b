//! Urgent data is a byte like any other: it arrives, in its place.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use socket2::SockRef;
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::socket::{addr_of, end, listen, session};

#[test]
fn an_urgent_byte_arrives_in_its_place_through_both_tiers() {
    let (front, back) = (free_addr(), listen());
    let config = Config::new().listener("l", front, "p", "").pool("p", &[addr_of(&back)], "");
    let _balancer = Balancer::start(&config);
    for before in [0, 3, 8 << 20] {
        let (client, mut backend) = session(front, &back);
        let sending = std::thread::spawn(move || send_with_urgent_byte(client, before));
        let mut received = Vec::new();
        backend.read_to_end(&mut received).expect("it ends in order");
        assert_eq!(received.len(), before + 1 + 3, "after {before} bytes");
        assert_eq!(&received[before..], b"!end", "after {before} bytes");
        sending.join().expect("the client does not panic");
    }
}

/// Sends `before` bytes, an urgent one, three more, and ends.
fn send_with_urgent_byte(mut client: TcpStream, before: usize) {
    client.write_all(&vec![b'.'; before]).expect("sends");
    assert_eq!(SockRef::from(&client).send_out_of_band(b"!").expect("sends urgently"), 1);
    client.write_all(b"end").expect("sends");
    end(&client);
}
