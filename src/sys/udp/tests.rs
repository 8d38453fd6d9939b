//! Datagrams over the loopback device, with everything that the kernel offers, with each part of it, and with none.

use std::net::UdpSocket;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::*;

/// Generous: loopback delivers before the sender's call returns, ICMP soon after.
const LIMIT: Duration = Duration::from_secs(10);

const SLOTS: usize = 8;
const WHOLE: usize = 65_536;

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn addr_of(socket: impl AsFd) -> SocketAddr {
    SockRef::from(&socket).local_addr().expect("addr").as_socket().expect("inet")
}

fn bound(addr: SocketAddr, capabilities: Capabilities) -> (OwnedFd, SocketAddr) {
    let (socket, _) = listen(addr, None, capabilities).expect("listen");
    let addr = addr_of(&socket);
    (socket, addr)
}

fn client(addr: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(addr).expect("bind");
    socket.set_read_timeout(Some(LIMIT)).expect("timeout");
    socket
}

fn next(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; WHOLE];
    let (length, source) = client.recv_from(&mut bytes).expect("a datagram");
    bytes.truncate(length);
    (bytes, source)
}

/// Tries until something has arrived.
fn wait<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            result => return result,
        }
    }
}

/// Receives whatever has arrived; there must be something.
fn receive_all(receiver: &mut Receiver, socket: &OwnedFd) -> Range<usize> {
    let mut received = wait(|| receiver.receive(socket)).expect("receive");
    let start = received.slots.start;
    while !received.is_drained {
        match receiver.receive(socket) {
            Ok(more) => received = more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    start..received.slots.end
}

/// Receives that many datagrams, each by itself; also says in how many pieces they came.
fn collect(receiver: &mut Receiver, socket: &OwnedFd, count: usize) -> (Vec<Vec<u8>>, usize) {
    let (mut all, mut pieces) = (Vec::new(), 0);
    while all.len() < count {
        receiver.clear();
        let received = wait(|| receiver.receive(socket)).expect("receive");
        pieces += received.slots.len();
        for train in receiver.trains(received.slots) {
            assert_eq!(train.iter().count(), train.count());
            all.extend(train.iter().map(<[u8]>::to_vec));
        }
    }
    (all, pieces)
}

fn to(destination: SocketAddr) -> Route {
    Route { destination: Some(destination), source: None }
}

#[test]
fn datagrams_of_every_length_pass_in_both_families() {
    for capabilities in Capabilities::subsets() {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let (listener, addr) = bound(SocketAddr::new(ip, 0), capabilities);
            let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
            let mut sender = Sender::new(capabilities);
            let upstream = connect(addr, None).expect("connect");
            for length in [0, 1, 1_472, 65_507] {
                let bytes = vec![7; length];
                let mut batch = sender.batch();
                batch.push(Route::CONNECTED, length, &bytes);
                batch.send(&upstream).expect("send");
                assert_eq!(batch.taken(), 1);
                receiver.clear();
                let received = wait(|| receiver.receive(&listener)).expect("receive");
                assert_eq!(received, Received { slots: 0..1, is_drained: capabilities.batches() });
                let train = receiver.trains(received.slots).next().expect("one");
                assert_eq!(train.iter().collect::<Vec<_>>(), [&bytes[..]]);
                assert_eq!((train.source, train.is_truncated), (Some(addr_of(&upstream)), false));
                assert_eq!((train.destination, train.overruns), (None, None));
            }
            let empty = receiver.receive(&listener).expect_err("drained");
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        }
    }
}

#[test]
fn a_reply_leaves_from_the_address_that_the_client_sent_to() {
    let v4 = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse().expect("ip"));
    let v6 = [IpAddr::from(Ipv6Addr::LOCALHOST)];
    for capabilities in Capabilities::subsets() {
        // One receiver for all: a slot must have room for whatever comes after what it held before.
        let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
        for (wildcard, ips) in [(IpAddr::from(Ipv4Addr::UNSPECIFIED), &v4[..]), (Ipv6Addr::UNSPECIFIED.into(), &v6)] {
            let (listener, addr) = bound(SocketAddr::new(wildcard, 0), capabilities);
            let mut sender = Sender::new(capabilities);
            for &ip in ips {
                let client = client(SocketAddr::new(ips[0], 0));
                let server = SocketAddr::new(ip, addr.port());
                client.send_to(b"question", server).expect("send");
                receiver.clear();
                let received = wait(|| receiver.receive(&listener)).expect("receive");
                let mut batch = sender.batch();
                for train in receiver.trains(received.slots) {
                    assert_eq!(train.destination, Some(ip));
                    let route = Route { destination: train.source, source: train.destination };
                    batch.push(route, train.segment_size, train.bytes);
                }
                batch.send(&listener).expect("send");
                assert_eq!(next(&client), (b"question".to_vec(), server));
            }
        }
    }
}

#[test]
fn ipv6_listeners_leave_ipv4_alone() {
    let (v6, _) = bound(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), Capabilities::NONE);
    assert!(SockRef::from(&v6).only_v6().expect("only v6"));
}

#[test]
fn trains_pass_whole_and_in_order() {
    for capabilities in Capabilities::subsets() {
        let (listener, addr) = bound(loopback(), capabilities);
        let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
        let mut sender = Sender::new(capabilities);
        let upstream = connect(addr, None).expect("connect");
        // Equal ones, a shorter one that ends their run, an empty one, longer ones, and more than one send can carry.
        let lengths = [&[200; 3][..], &[50], &[200], &[0], &[1_200; 60], &[1], &[1_400; 10]].concat();
        let datagrams: Vec<Vec<u8>> = (0..=u8::MAX).zip(&lengths).map(|(fill, length)| vec![fill; *length]).collect();
        let mut batch = sender.batch();
        for datagram in &datagrams {
            batch.push(Route::CONNECTED, datagram.len(), datagram);
        }
        batch.send(&upstream).expect("send");
        assert_eq!(batch.taken(), lengths.len());
        let (arrived, pieces) = collect(&mut receiver, &listener, lengths.len());
        // Not shown: they are long.
        assert!(arrived == datagrams, "what arrives is not what was sent, with {capabilities:?}");
        // The device cuts for a receiver that wants no trains.
        let is_whole = capabilities.segments() && capabilities.coalesces();
        assert_eq!(pieces, if is_whole { 6 } else { lengths.len() }, "{capabilities:?}");
    }
}

#[test]
fn a_train_arrives_in_one_piece() {
    let capabilities = Capabilities::probe().expect("probe");
    let (listener, addr) = bound(loopback(), capabilities);
    let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
    let mut sender = Sender::new(capabilities);
    let upstream = connect(addr, None).expect("connect");
    let bytes: Vec<u8> = (0..32 * 1_200 + 100).map(|index| u8::try_from(index / 1_200).expect("few")).collect();
    let mut batch = sender.batch();
    batch.push(Route::CONNECTED, 1_200, &bytes);
    batch.send(&upstream).expect("send");
    assert_eq!(batch.taken(), 33);
    let received = wait(|| receiver.receive(&listener)).expect("receive");
    let trains: Vec<_> = receiver.trains(received.slots).collect();
    assert_eq!((trains.len(), trains[0].segment_size, trains[0].bytes), (1, 1_200, &bytes[..]));
}

#[test]
fn replies_from_many_sockets_leave_together() {
    for capabilities in Capabilities::subsets() {
        let (listener, addr) = bound(loopback(), capabilities);
        let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
        let mut sender = Sender::new(capabilities);
        let backend = client(loopback());
        let flows: Vec<_> =
            (0..SLOTS).map(|_| (client(loopback()), connect(addr_of(&backend), None).expect("connect"))).collect();
        for (number, (_, upstream)) in (0..).zip(&flows) {
            backend.send_to(&[number; 100], addr_of(upstream)).expect("send");
        }
        for (number, (_, upstream)) in flows.iter().enumerate() {
            let received = wait(|| receiver.receive_connected(upstream)).expect("receive");
            assert_eq!(received.slots, number..number + 1);
        }
        assert!(receiver.is_full());
        assert_eq!(receiver.receive_connected(&flows[0].1).expect("no room").slots, SLOTS..SLOTS);
        let mut batch = sender.batch();
        for (train, (client, _)) in receiver.trains(0..SLOTS).zip(&flows) {
            assert_eq!(train.source, None);
            batch.push(to(addr_of(client)), train.segment_size, train.bytes);
        }
        batch.send(&listener).expect("send");
        for (number, (client, _)) in (0..).zip(&flows) {
            assert_eq!(next(client), (vec![number; 100], addr));
        }
    }
}

#[test]
fn what_does_not_fit_is_cut_and_marked() {
    for capabilities in Capabilities::subsets() {
        let (listener, addr) = bound(loopback(), capabilities);
        let mut receiver = Receiver::new(SLOTS, 100, capabilities);
        let client = client(loopback());
        for length in [100, 101, 0] {
            client.send_to(&vec![1; length], addr).expect("send");
        }
        let arrived = receive_all(&mut receiver, &listener);
        let cut: Vec<_> = receiver.trains(arrived).map(|train| (train.bytes.len(), train.is_truncated)).collect();
        assert_eq!(cut, [(100, false), (100, true), (0, false)]);
    }
}

#[test]
fn a_closed_port_refuses_once_and_the_socket_lives_on() {
    for capabilities in Capabilities::subsets() {
        let (listener, addr) = bound(loopback(), capabilities);
        let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
        let mut sender = Sender::new(capabilities);
        let upstream = connect(addr, None).expect("connect");
        drop(listener);
        for _ in 0..2 {
            let mut batch = sender.batch();
            batch.push(Route::CONNECTED, 1, b"x");
            batch.send(&upstream).expect("sent, before ICMP says otherwise");
            let refused = wait(|| receiver.receive_connected(&upstream)).expect_err("refused");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}

#[test]
fn a_refusal_says_what_was_taken_and_the_rest_can_go_on() {
    for capabilities in Capabilities::subsets() {
        let (listener, _) = bound(loopback(), capabilities);
        let client = client(loopback());
        let mut sender = Sender::new(capabilities);
        // A socket of IPv4 reaches no address of IPv6.
        let nowhere = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
        let mut batch = sender.batch();
        for (route, bytes) in [(to(addr_of(&client)), b"1"), (to(nowhere), b"2"), (to(addr_of(&client)), b"3")] {
            batch.push(route, 1, bytes);
        }
        let refusal = batch.send(&listener).expect_err("refused");
        assert_eq!((refusal.route, refusal.datagrams, batch.taken()), (to(nowhere), 1, 1));
        assert_eq!(Errno::from_io_error(&refusal.error), Some(Errno::AFNOSUPPORT));
        assert_eq!(batch.skip(), 1);
        batch.send(&listener).expect("the rest");
        assert_eq!((batch.taken(), batch.skip()), (2, 0));
        assert_eq!((next(&client).0, next(&client).0), (b"1".to_vec(), b"3".to_vec()));
    }
}

#[test]
fn a_train_that_the_path_refuses_leaves_one_by_one() {
    let capabilities = Capabilities::probe().expect("probe");
    let (listener, addr) = bound(loopback(), capabilities);
    let mut receiver = Receiver::new(SLOTS, WHOLE, capabilities);
    let mut sender = Sender::new(capabilities);
    let upstream = connect(addr, None).expect("connect");
    // Without a checksum the kernel refuses to cut, as it does when segments are longer than the path's packets.
    option::set(&upstream, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).expect("no checksum");
    let trains = [vec![1; 450], vec![2; 1_000], vec![3; 10]];
    let mut batch = sender.batch();
    for (train, segment_size) in trains.iter().zip([100, 300, 10]) {
        batch.push(Route::CONNECTED, segment_size, train);
    }
    batch.send(&upstream).expect("send");
    assert_eq!(batch.taken(), 5 + 4 + 1);
    let expected: Vec<_> =
        trains.iter().zip([100, 300, 10]).flat_map(|(train, size)| train.chunks(size)).map(<[u8]>::to_vec).collect();
    assert_eq!(collect(&mut receiver, &listener, 10), (expected, 10));
    assert!(sender.segments(), "other paths may take trains");
}

#[test]
fn the_kernel_says_how_much_buffer_it_grants_and_what_overflowed() {
    for capabilities in Capabilities::subsets() {
        let (listener, granted) = listen(loopback(), Some(4_096), capabilities).expect("listen");
        assert_eq!(granted, 4_096);
        let addr = addr_of(&listener);
        let client = client(loopback());
        for _ in 0..100 {
            client.send_to(&[0; 500], addr).expect("send");
        }
        let mut receiver = Receiver::new(128, 500, capabilities);
        let queued = receive_all(&mut receiver, &listener).len();
        assert!(queued < 100);
        client.send_to(b"how many?", addr).expect("send");
        let received = wait(|| receiver.receive(&listener)).expect("receive");
        let overruns = receiver.trains(received.slots).next().expect("one").overruns;
        assert_eq!(overruns, u32::try_from(100 - queued).ok());
    }
}

#[test]
fn an_address_in_use_is_noticed_although_sockets_may_share_it() {
    let (listener, addr) = bound(loopback(), Capabilities::NONE);
    let (_same, _) = listen(addr, None, Capabilities::NONE).expect("shared");
    assert_eq!(check_unused(addr).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
    drop((listener, _same));
    assert_eq!(check_unused(addr).expect("free again"), addr);
}

#[test]
fn a_flow_leaves_from_the_address_that_was_asked_for() {
    let (_listener, addr) = bound(loopback(), Capabilities::NONE);
    let local = IpAddr::from([127, 0, 0, 3]);
    assert_eq!(addr_of(connect(addr, Some(local)).expect("connect")).ip(), local);
}

#[test]
fn a_retired_socket_keeps_its_queue_and_the_others_get_the_rest() {
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()] {
        let capabilities = Capabilities::probe().expect("probe");
        let (old, addr) = bound(SocketAddr::new(ip, 0), capabilities);
        let (new, _) = listen(addr, None, capabilities).expect("shared");
        let home = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
        let server = SocketAddr::new(home, addr.port());
        let clients: Vec<_> = (0..64).map(|_| client(SocketAddr::new(home, 0))).collect();
        for client in &clients {
            client.send_to(b"before", server).expect("send");
        }
        retire(old.as_fd()).expect("retire");
        for client in &clients {
            client.send_to(b"after", server).expect("send");
        }
        let mut receiver = Receiver::new(256, 100, capabilities);
        let of_old = wait(|| receiver.receive(&old)).expect("receive").slots;
        let of_new = wait(|| receiver.receive(&new)).expect("receive").slots;
        assert!((1..64).contains(&of_old.len()), "both sockets have clients");
        assert_eq!(of_old.len() + of_new.len(), 128, "nothing is lost");
        assert!(receiver.trains(of_old.clone()).all(|train| train.bytes == b"before"));
        let mut sender = Sender::new(capabilities);
        let mut batch = sender.batch();
        for train in receiver.trains(of_old) {
            let route = Route { destination: train.source, source: train.destination };
            batch.push(route, train.segment_size, train.bytes);
        }
        batch.send(&old).expect("a retired socket still answers");
        drop(new);
        let lonely = client(SocketAddr::new(home, 0));
        lonely.connect(server).expect("connect");
        lonely.send(b"anybody?").expect("send");
        assert_eq!(lonely.recv(&mut [0; 1]).expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
    }
}
