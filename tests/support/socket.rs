//! The tests' own ends of connections.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::connect_unspec;
use socket2::{Domain, SockRef, Socket, Type};

use super::wait::{SOON, wait_for, wait_until};

/// Any read or write of a test that takes longer is a hang, and fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Connects from 127.0.0.1, with [`PATIENCE`] on reads and writes.
#[track_caller]
pub fn connect(addr: SocketAddr) -> TcpStream {
    try_connect(addr).unwrap_or_else(|error| panic!("connecting to {addr}: {error}"))
}

/// As [`connect`], when it may fail.
pub fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    be_patient(&stream)?;
    Ok(stream)
}

/// Connects from 127.0.0.`last`.
#[track_caller]
pub fn connect_from(last: u8, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).expect("a loopback address");
    socket.connect(&addr.into()).unwrap_or_else(|error| panic!("connecting to {addr}: {error}"));
    let stream = TcpStream::from(socket);
    be_patient(&stream).expect("a timeout that is not zero");
    stream
}

/// Connects with buffers so small that who sends much stalls soon.
#[track_caller]
pub fn connect_narrow(addr: SocketAddr) -> TcpStream {
    let socket = narrow_socket();
    socket.connect(&addr.into()).unwrap_or_else(|error| panic!("connecting to {addr}: {error}"));
    let stream = TcpStream::from(socket);
    be_patient(&stream).expect("a timeout that is not zero");
    stream
}

/// A listener whose connections have the buffers of [`connect_narrow`].
pub fn listen_narrow() -> TcpListener {
    let socket = narrow_socket();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a loopback address");
    socket.listen(1024).expect("a bound socket listens");
    socket.into()
}

fn narrow_socket() -> Socket {
    /// Each way; far below what the kernel's tuning would arrive at.
    const NARROW: usize = 32 * 1024;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(NARROW).expect("a size that the kernel grants");
    socket.set_send_buffer_size(NARROW).expect("a size that the kernel grants");
    socket
}

/// A listener on a free port of 127.0.0.1.
pub fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")
}

/// Where `listener` listens.
pub fn addr_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a bound socket has an address")
}

/// The next connection on `listener`, with [`PATIENCE`] on reads and writes.
#[track_caller]
pub fn accept(listener: &TcpListener) -> TcpStream {
    try_accept(listener, SOON).expect("nobody connected")
}

/// The next connection on `listener`, if one comes within `deadline`.
pub fn try_accept(listener: &TcpListener, deadline: Duration) -> Option<TcpStream> {
    listener.set_nonblocking(true).expect("a socket");
    let started = Instant::now();
    let stream = wait_for("a connection or the deadline", deadline + SOON, || match listener.accept() {
        Ok((stream, _)) => Some(Some(stream)),
        Err(_) if started.elapsed() >= deadline => Some(None),
        Err(_) => None,
    })?;
    stream.set_nonblocking(false).expect("a socket");
    be_patient(&stream).expect("a timeout that is not zero");
    Some(stream)
}

/// Both ends of one session through the balancer that listens at `front` and sends to `back`.
#[track_caller]
pub fn session(front: SocketAddr, back: &TcpListener) -> (TcpStream, TcpStream) {
    let client = connect(front);
    (client, accept(back))
}

/// Sends a reset and closes, also when the stream was cloned.
pub fn reset(stream: &TcpStream) {
    connect_unspec(stream).expect("a TCP socket disconnects");
}

/// Ends our direction.
#[track_caller]
pub fn end(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("a connected socket");
}

/// Waits until the peer has reset `stream`; bytes that wait unread do not hide it.
///
/// The kernel says ECONNRESET, or EPIPE when the peer's direction had ended before; a clean end is neither.
#[track_caller]
pub fn wait_reset(what: &str, stream: &TcpStream, deadline: Duration) {
    wait_until(&format!("{what} is reset"), deadline, || {
        let error = stream.take_error().expect("a socket");
        error.is_some_and(|error| is_reset(&error))
    });
}

/// Whether this is how a reset shows.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Asserts that a client of `addr` is reset before it gets a byte: how the balancer refuses.
#[track_caller]
pub fn assert_refused(addr: SocketAddr) {
    // The reset can overtake the return of connect.
    match try_connect(addr).and_then(|mut stream| stream.read(&mut [0; 1])) {
        Err(error) if is_reset(&error) => {}
        other => panic!("expected a reset, got {other:?}"),
    }
}

/// Waits until nothing listens at `addr` any more.
#[track_caller]
pub fn wait_closed(addr: SocketAddr) {
    wait_until("connecting is refused", SOON, || {
        try_connect(addr).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    });
}

/// Sends `bytes` and expects them back.
pub fn echo(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer)?;
    if answer == bytes { Ok(()) } else { Err(io::Error::other("the echo differs")) }
}

/// Asserts that `stream` still reaches an echo.
#[track_caller]
pub fn assert_echo(stream: &mut TcpStream) {
    if let Err(error) = echo(stream, b"still there?") {
        panic!("the session is broken: {error}");
    }
}

/// Asserts that `stream` ends cleanly, after no further byte.
#[track_caller]
pub fn assert_end(stream: &mut TcpStream) {
    match stream.read(&mut [0; 1]) {
        Ok(0) => {}
        other => panic!("expected the end of the stream, got {other:?}"),
    }
}

/// Whether the peer is gone: its end or its reset has arrived.
pub fn at_end(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let seen = stream.read(&mut [0; 1]);
    stream.set_nonblocking(false).expect("a socket");
    match seen {
        Ok(count) => count == 0,
        Err(error) => is_reset(&error),
    }
}

/// One byte from one end to the other, so that the session is known to be relayed.
#[track_caller]
pub fn pass_byte(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"!").expect("the session takes a byte");
    let mut byte = [0];
    to.read_exact(&mut byte).expect("the session delivers a byte");
    assert_eq!(&byte, b"!");
}

/// Sends until nothing more fits on the way and the peer, who does not read, has stalled us. Returns the bytes sent.
#[track_caller]
pub fn flood(stream: &mut TcpStream) -> u64 {
    /// Without a byte moving for this long the way is full, not busy.
    const STALLED: Duration = Duration::from_millis(150);
    let chunk = vec![0x5a; 64 * 1024];
    stream.set_nonblocking(true).expect("a socket");
    let mut sent = 0;
    let mut last_progress = Instant::now();
    wait_until("the way is full", PATIENCE, || {
        while let Ok(count) = stream.write(&chunk) {
            sent += count as u64;
            last_progress = Instant::now();
        }
        last_progress.elapsed() >= STALLED
    });
    stream.set_nonblocking(false).expect("a socket");
    sent
}

/// Makes closing `stream` send a reset instead of an end.
pub fn reset_on_close(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket");
}

fn be_patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}
