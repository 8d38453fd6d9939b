//! Stream sockets: binding, accepting, connecting, and the options that every session needs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, acceptfrom_with, recv, send, shutdown,
    socket_with, sockopt,
};
use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Socket, TcpKeepalive, Type};

/// Connections that the kernel completes before we accept them; it caps this at net.core.somaxconn.
const BACKLOG: i32 = 4_096;

/// A silent connection is probed after 30 s, then every 10 s, and is lost after three probes: a dead peer is noticed
/// within a minute instead of after two hours. While data is outstanding the kernel does not probe; see
/// [`tcp_info`](super::tcp_info) for that.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);

/// Who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddr {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A local process; unix clients have no address worth showing.
    Unix,
}

/// Binds a listening TCP socket, non-blocking, whose options every accepted socket inherits.
///
/// An IPv6 address is bound for IPv6 only. Several sockets may be bound to one address (SO_REUSEPORT); the kernel spreads
/// new connections over them.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn listen_tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes sure that no socket listens on an address; returns it with the port that the kernel chose for port 0.
///
/// A shared bind alone would not tell: SO_REUSEPORT lets two processes of one user take turns on a port.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn check_unused(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(local_addr(&socket)?.unwrap_or(addr))
}

/// Binds a listening unix socket, non-blocking. A socket file that nobody listens on any more is replaced.
///
/// # Errors
/// Whatever the kernel refuses; `AddrInUse` if somebody listens there or the path is not a socket.
pub fn listen_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let addr = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&addr) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_abandoned(path) {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&addr)?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether the path is a socket that refuses connections, as one left behind by a dead process does. A regular file
/// refuses them too, and is not ours to remove.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let refusal = connect_unix(path).err().map(|error| error.kind());
    is_socket && refusal == Some(io::ErrorKind::ConnectionRefused)
}

/// The address that a listening socket got, for a bind to port 0.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn local_addr(socket: impl AsFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&socket).local_addr()?.as_socket())
}

/// A connection that was accepted and that nothing serves yet. Dropping it resets it: a client that is not served must not
/// take that for an orderly end.
#[derive(Debug)]
pub struct Accepted(Option<OwnedFd>);

impl Accepted {
    /// The socket, to be served.
    pub fn into_socket(mut self) -> OwnedFd {
        self.0.take().expect("it is taken once, for that takes `self`")
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            reset_on_close(socket);
        }
    }
}

/// Takes one connection off a listening socket, non-blocking and close-on-exec.
///
/// # Errors
/// Whatever the kernel says; `WouldBlock` when none is waiting.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(Accepted, ClientAddr)> {
    let (socket, addr) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = addr.and_then(|addr| SocketAddr::try_from(addr).ok()).map_or(ClientAddr::Unix, ClientAddr::Inet);
    Ok((Accepted(Some(socket)), peer))
}

/// Makes the kernel ignore new connections to a listening TCP socket, while handshakes under way still complete.
///
/// Closing the socket resets what is in its queue; after this the queue can be emptied first.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn ignore_new_connections(listener: BorrowedFd<'_>) -> io::Result<()> {
    // Classic BPF over the segment, from its TCP header on: drop those with SYN and without ACK.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    SockRef::from(&listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(AND, 0, 0, SYN_OR_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

/// Begins a TCP connection; urgent data stays in its place in the stream, so that no byte is lost. The connection
/// is established, or has failed, once the socket is writable. It is not kept alive yet, see [`keep_alive`], and small
/// segments may wait for others, see [`send_at_once`].
///
/// # Errors
/// What the kernel can say at once: no route, no ports, no descriptors.
pub fn connect_tcp(addr: SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    SockRef::from(&socket).set_out_of_band_inline(true)?;
    match rustix::net::connect(&socket, &addr) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Connects to a unix socket, which the kernel does at once or not at all.
///
/// # Errors
/// Nobody listens there, or its queue is full (`WouldBlock`).
pub fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Makes the kernel send small segments at once, instead of holding them back until others are acknowledged (TCP_NODELAY).
/// Unix sockets know no segments.
pub fn send_at_once(socket: impl AsFd) {
    // It only fails on what is not TCP.
    let _ = SockRef::from(&socket).set_tcp_nodelay(true);
}

/// Makes the kernel probe the peer while the connection is silent. Unix sockets need none.
pub fn keep_alive(socket: impl AsFd) {
    // It only fails on what is not TCP.
    let _ = SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE);
}

/// The pending error of a socket, which reading clears.
pub fn take_error(socket: impl AsFd) -> Option<io::Error> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => None,
        Ok(Err(error)) | Err(error) => Some(error.into()),
    }
}

/// Makes the close of this socket a reset instead of an orderly end.
pub fn reset_on_close(socket: impl AsFd) {
    // It can only fail on what is not a socket, and a unix socket ignores it.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Reads what has arrived; 0 is the end of the stream.
///
/// # Errors
/// Whatever the kernel says; `WouldBlock` when nothing has arrived.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (received, _) = recv(socket, buffer, RecvFlags::empty())?;
    Ok(received)
}

/// The next byte that will be read, or `None` at the end of the stream; nothing is taken from it.
///
/// # Errors
/// Whatever the kernel says; `WouldBlock` when nothing has arrived.
pub fn peek(socket: impl AsFd) -> io::Result<Option<u8>> {
    let mut next = [0; 1];
    let (received, _) = recv(socket, &mut next, RecvFlags::PEEK)?;
    Ok((received > 0).then_some(next[0]))
}

/// Sends what fits; a peer that is gone is an error and never a signal.
///
/// # Errors
/// Whatever the kernel says; `WouldBlock` when nothing fits.
pub fn transmit(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// Ends the outgoing stream: FIN.
///
/// # Errors
/// The peer has reset the connection.
pub fn finish(socket: impl AsFd) -> io::Result<()> {
    Ok(shutdown(socket, Shutdown::Write)?)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Instant;

    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// The bound is generous: loopback handshakes take microseconds.
    fn accept_within(listener: &OwnedFd, limit: Duration) -> io::Result<(Accepted, ClientAddr)> {
        let deadline = Instant::now() + limit;
        loop {
            match accept(listener.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                result => return result,
            }
        }
    }

    #[test]
    fn accepted_sockets_inherit_the_options() {
        let listener = listen_tcp(loopback()).expect("listen");
        let addr = local_addr(&listener).expect("addr").expect("inet");
        let client = TcpStream::connect(addr).expect("connect");
        let (accepted, peer) = accept_within(&listener, Duration::from_secs(5)).expect("accept");
        assert_eq!(peer, ClientAddr::Inet(client.local_addr().expect("addr")));
        let accepted = accepted.into_socket();
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().expect("nodelay"));
        assert!(accepted.keepalive().expect("keepalive"));
        assert_eq!(accepted.tcp_keepalive_time().expect("time"), Duration::from_secs(30));
    }

    #[test]
    fn a_connection_that_nothing_serves_is_reset() {
        let listener = listen_tcp(loopback()).expect("listen");
        let addr = local_addr(&listener).expect("addr").expect("inet");
        let mut client = TcpStream::connect(addr).expect("connect");
        drop(accept_within(&listener, Duration::from_secs(5)).expect("accept"));
        let error = std::io::Read::read(&mut client, &mut [0]).expect_err("no orderly end");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn an_address_in_use_is_noticed_although_sockets_may_share_it() {
        let listener = listen_tcp(loopback()).expect("listen");
        let addr = local_addr(&listener).expect("addr").expect("inet");
        assert_eq!(check_unused(addr).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert_eq!(check_unused(addr).expect("free again"), addr);
    }

    #[test]
    fn a_filtered_listener_keeps_its_queue_and_takes_no_more() {
        let listener = listen_tcp(loopback()).expect("listen");
        let addr = local_addr(&listener).expect("addr").expect("inet");
        let _queued = TcpStream::connect(addr).expect("connect");
        ignore_new_connections(listener.as_fd()).expect("filter");
        let late = TcpStream::connect_timeout(&addr, Duration::from_millis(100));
        assert_eq!(late.expect_err("ignored").kind(), io::ErrorKind::TimedOut);
        accept_within(&listener, Duration::from_secs(5)).expect("the queued one");
        assert_eq!(accept(listener.as_fd()).expect_err("no more").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_abandoned_unix_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("sock");
        drop(listen_unix(&path).expect("first"));
        let _live = listen_unix(&path).expect("replaces the abandoned one");
        assert_eq!(listen_unix(&path).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").expect("write");
        assert_eq!(listen_unix(&file).expect_err("not a socket").kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&file).expect("still there"), b"precious");
    }
}
