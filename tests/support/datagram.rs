//! Clients and backends that exchange datagrams.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::port::free_addr;

/// Every reply that is due comes well within this; it ends the wait for those that are not.
const PATIENCE: Duration = Duration::from_secs(5);

/// What probes send to an [`Echo`].
pub const PROBE: &[u8] = b"probe";

/// What begins with this has no answer from any [`Echo`], as a server has none to what it does not understand.
pub const NONSENSE: &[u8] = b"nonsense";

/// A backend that answers every datagram with its own port and what it got; gone when dropped.
#[derive(Debug)]
pub struct Echo {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Whom an [`Echo`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Answers {
    /// Everybody.
    All,
    /// Everybody but who sends a [`PROBE`].
    NoProbes,
    /// Nobody; yet its port is not closed, so that no ICMP tells of it.
    Nothing,
}

#[derive(Debug, Default)]
struct Shared {
    received: AtomicU64,
    /// Who had an answer.
    answered: Mutex<HashSet<SocketAddr>>,
    /// As an [`Answers`].
    answers: AtomicU8,
    is_over: AtomicBool,
}

impl Echo {
    /// On a free port.
    pub fn start() -> Self {
        Self::start_on(free_addr(), Duration::ZERO)
    }

    /// On this address; every answer takes that long.
    pub fn start_on(addr: SocketAddr, delay: Duration) -> Self {
        /// A backend that lags behind for a moment loses nothing by itself.
        const RECEIVE_BUFFER: usize = 4 << 20;
        let socket = UdpSocket::bind(addr).expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket takes a timeout");
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER).expect("the kernel grants what it may");
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.serve(&socket, addr, delay)
        });
        Self { addr, shared, thread: Some(thread) }
    }

    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes whom it answers from now on.
    pub fn set(&self, answers: Answers) {
        self.shared.answers.store(answers as u8, Ordering::Relaxed);
    }

    /// Datagrams that it got.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// How many different ports it has answered: through the balancer, each is a flow.
    pub fn answered(&self) -> usize {
        self.shared.answered().len()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("an echo does not panic");
        }
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket, addr: SocketAddr, delay: Duration) {
        let mut bytes = vec![0; 65_536];
        while !self.is_over.load(Ordering::Relaxed) {
            let Ok((length, client)) = socket.recv_from(&mut bytes) else { continue };
            let request = &bytes[..length];
            self.received.fetch_add(1, Ordering::Relaxed);
            if self.answers(request) {
                thread::sleep(delay);
                self.answered().insert(client);
                let _sent = socket.send_to(&answer(addr, request), client);
            }
        }
    }

    fn answers(&self, request: &[u8]) -> bool {
        let answers = self.answers.load(Ordering::Relaxed);
        let is_silent = answers == Answers::Nothing as u8 || (answers == Answers::NoProbes as u8 && request == PROBE);
        !is_silent && !request.starts_with(NONSENSE)
    }

    fn answered(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
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
    hear_within(client, Duration::from_millis(300)).is_none()
}

/// Sends, and waits a moment for the reply, as for one that is not expected.
pub fn ask_in_vain(client: &UdpSocket, request: &[u8]) -> Option<Vec<u8>> {
    client.send(request).expect("the balancer is there");
    hear_within(client, Duration::from_millis(20))
}

/// The next datagram, if one comes within `period`.
fn hear_within(client: &UdpSocket, period: Duration) -> Option<Vec<u8>> {
    client.set_read_timeout(Some(period)).expect("a socket takes a timeout");
    let outcome = hear(client);
    client.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    match outcome {
        Ok(datagram) => Some(datagram),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => panic!("the balancer is gone: {error}"),
    }
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
