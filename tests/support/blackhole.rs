//! An address that does not answer, as a dead machine does not: no reset, no acknowledgement.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::socket::{addr_of, listen};
use super::wait::{SOON, wait_for};

/// A loopback connect that takes longer than this is not going to succeed.
const STUCK: Duration = Duration::from_millis(100);

/// A listener whose queue is full: the kernel drops every further SYN without an answer.
#[derive(Debug)]
pub struct Blackhole {
    listener: TcpListener,
    /// What fills the queue.
    _fillers: Vec<Socket>,
}

impl Blackhole {
    /// Listens on a free port of 127.0.0.1 and answers nobody.
    pub fn new() -> Self {
        Self::swallow(listen())
    }

    /// Makes a living listener fall silent.
    pub fn swallow(listener: TcpListener) -> Self {
        rustix::net::listen(&listener, 0).expect("a bound socket listens");
        let addr = addr_of(&listener).into();
        let mut fillers = Vec::new();
        while let Some(filler) = connect_unless_stuck(&addr) {
            fillers.push(filler);
            assert!(fillers.len() < 16, "a queue of length 0 that takes {} connections", fillers.len());
        }
        Self { listener, _fillers: fillers }
    }

    /// Where nobody answers.
    pub fn addr(&self) -> SocketAddr {
        addr_of(&self.listener)
    }

    /// Comes alive: who has been trying gets through with the next SYN, which the kernel sends 1 s after the first.
    ///
    /// Returns the listener; its queue no longer holds anything but new connections.
    pub fn come_alive(self) -> TcpListener {
        self.listener.set_nonblocking(true).expect("a socket");
        while self.listener.accept().is_ok() {}
        self.listener.set_nonblocking(false).expect("a socket");
        // The next connections need room while nobody accepts.
        rustix::net::listen(&self.listener, 128).expect("a bound socket listens");
        self.listener
    }

    /// As [`Blackhole::come_alive`], and from then on echoes on every connection, for as long as the process lives.
    pub fn come_alive_as_echo(self) {
        let listener = self.come_alive();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
    }
}

/// A connection, or nothing when the SYN remains without an answer.
fn connect_unless_stuck(addr: &SockAddr) -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_nonblocking(true).expect("a socket");
    let started = Instant::now();
    let _in_progress = socket.connect(addr);
    wait_for("a connection, or that it is stuck", SOON, || {
        if socket.peer_addr().is_ok() {
            return Some(true);
        }
        (started.elapsed() >= STUCK).then_some(false)
    })
    .then_some(socket)
}
