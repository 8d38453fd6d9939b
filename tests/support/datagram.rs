//! Clients and backends that exchange datagrams.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::port::free_addr;

/// Every reply that is due comes well within this; it ends the wait for those that are not.
const PATIENCE: Duration = Duration::from_secs(5);

/// A backend that answers every datagram with its own port and what it got; gone when dropped.
#[derive(Debug)]
pub struct Echo {
    addr: SocketAddr,
    received: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// On a free port.
    pub fn start() -> Self {
        Self::start_on(free_addr(), Duration::ZERO)
    }

    /// On this address; every answer takes that long.
    pub fn start_on(addr: SocketAddr, delay: Duration) -> Self {
        let socket = UdpSocket::bind(addr).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket takes a timeout");
        let (received, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, end) = (Arc::clone(&received), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            while !end.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut bytes) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(delay);
                let _sent = socket.send_to(&answer(addr, &bytes[..length]), client);
            }
        });
        Self { addr, received, is_over, thread: Some(thread) }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Datagrams that it got.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("an echo does not panic");
        }
    }
}

/// What an [`Echo`] at `addr` answers; the longest datagrams have no room for more than themselves.
fn answer(addr: SocketAddr, request: &[u8]) -> Vec<u8> {
    let tagged = [format!("{}:", addr.port()).as_bytes(), request].concat();
    if tagged.len() > 65_507 { request.to_vec() } else { tagged }
}

/// A client of `front`, on a port of its own; it hears nobody else.
pub fn client(front: SocketAddr) -> UdpSocket {
    let ip: IpAddr = if front.is_ipv4() { [127, 0, 0, 1].into() } else { "::1".parse().expect("an address") };
    client_from(ip, front)
}

/// As [`client`], from this address.
pub fn client_from(ip: IpAddr, front: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("there are free ports");
    socket.connect(front).expect("the address can be reached");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    socket
}

/// Sends and waits for the reply.
pub fn ask(client: &UdpSocket, request: &[u8]) -> io::Result<Vec<u8>> {
    client.send(request)?;
    hear(client)
}

/// Waits for a datagram.
pub fn hear(client: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 65_536];
    let length = client.recv(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

/// Which backend answers `request`, by its port.
#[track_caller]
pub fn answered_by(client: &UdpSocket, request: &[u8]) -> u16 {
    let reply = ask(client, request).expect("an answer");
    let text = String::from_utf8_lossy(&reply);
    let (port, rest) = text.split_once(':').expect("a port and a colon");
    assert_eq!(rest.as_bytes(), request);
    port.parse().expect("a port")
}

/// Whether nothing comes for a while: longer than anything takes on this machine.
pub fn hears_nothing(client: &UdpSocket) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket takes a timeout");
    let outcome = hear(client);
    client.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    outcome.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Asks until an answer comes, as clients of UDP do.
#[track_caller]
pub fn ask_again(client: &UdpSocket, request: &[u8]) -> Vec<u8> {
    let started = Instant::now();
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket takes a timeout");
    loop {
        assert!(started.elapsed() < PATIENCE, "no answer to any of many datagrams");
        if let Ok(reply) = ask(client, request) {
            client.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
            return reply;
        }
    }
}

/// Sends datagrams whose source is made up. Only root may.
#[derive(Debug)]
pub struct Spoofer(Socket);

impl Spoofer {
    /// Ready to send.
    pub fn new() -> Self {
        // Number 255 (IPPROTO_RAW) means that we write the header of IP ourselves.
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)));
        Self(socket.expect("raw sockets need root"))
    }

    /// Sends `payload` to `to` as if from `from`; both IPv4.
    pub fn send(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else { panic!("IPv4 only") };
        let udp_length = u16::try_from(8 + payload.len()).expect("short");
        let mut packet = Vec::with_capacity(28 + payload.len());
        // The kernel fills in the total length, the identification and the checksum.
        packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(udp_length.to_be_bytes());
        // A checksum of 0 is none.
        packet.extend([0, 0]);
        packet.extend(payload);
        self.0.send_to(&packet, &to.into()).expect("the kernel takes it");
    }
}
