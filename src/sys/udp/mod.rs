//! Datagram sockets: binding, connecting, and moving many datagrams with one system call.
//!
//! A [`Receiver`] takes datagrams off any number of sockets into memory of its own; a [`Sender`] sends them on from
//! there without copying. Both use what the kernel offers ([`Capabilities`]) and do the same without it, only slower.
//!
//! ICMP errors arrive on connected sockets alone: the next `receive` or `send` fails with them once (`ConnectionRefused`
//! for a port that nobody listens on) and says nothing about the datagram at hand, which can be sent again at once.

mod control;
mod message;
mod option;
mod probe;
mod receive;
mod send;
mod sockaddr;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

pub use self::message::Route;
pub use self::probe::Capabilities;
pub use self::receive::{Received, Receiver, Train};
pub use self::send::{Batch, SendFailure, Sender};

/// Binds a datagram socket, non-blocking; returns it with the bytes that the kernel granted for `buffers`, see [`set_buffers`].
///
/// An IPv6 address is bound for IPv6 only. Several sockets may be bound to one address (SO_REUSEPORT); the kernel gives
/// all datagrams of one 4-tuple to the same of them, for as long as their number stays. On a wildcard address every
/// datagram tells where it was sent to, so that the reply can leave from there.
///
/// # Errors
/// Whatever the kernel refuses. Smaller buffers than asked for are no error.
pub fn listen(addr: SocketAddr, buffers: Option<usize>, capabilities: Capabilities) -> io::Result<(OwnedFd, usize)> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    if let Some(bytes) = buffers {
        set_buffers(&socket, bytes)?;
    }
    report_overruns(&socket)?;
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => option::set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
            SocketAddr::V6(_) => option::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
        }
    }
    if capabilities.coalesces() {
        coalesce(&socket)?;
    }
    socket.bind(&addr.into())?;
    let granted = receive_buffer(&socket)?;
    Ok((socket.into(), granted))
}

/// Asks for so many bytes to queue datagrams in, each way; returns how many the kernel granted for those received.
///
/// Only CAP_NET_ADMIN may go beyond net.core.rmem_max and net.core.wmem_max; for others the kernel quietly grants those.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn set_buffers(socket: impl AsFd, bytes: usize) -> io::Result<usize> {
    // The kernel doubles the number in an int.
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX).min(i32::MAX / 2);
    for (by_force, by_limit) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        option::set(&socket, libc::SOL_SOCKET, by_force, bytes)
            .or_else(|_| option::set(&socket, libc::SOL_SOCKET, by_limit, bytes))?;
    }
    receive_buffer(&socket)
}

/// The kernel doubles what it is asked for, to have room for its own records, and says the doubled number.
fn receive_buffer(socket: impl AsFd) -> io::Result<usize> {
    Ok(SockRef::from(&socket).recv_buffer_size()? / 2)
}

/// Makes every datagram tell how many this socket has lost for want of room (SO_RXQ_OVFL).
///
/// # Errors
/// Whatever the kernel refuses.
pub fn report_overruns(socket: impl AsFd) -> io::Result<()> {
    option::set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Makes sure that no socket is bound to an address; returns it with the port that the kernel chose for port 0.
///
/// A shared bind alone would not tell: SO_REUSEPORT lets two processes of one user share a port.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn check_unused(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.local_addr()?.as_socket().unwrap_or(addr))
}

/// A socket that only exchanges datagrams with `remote`, non-blocking; `local` is the address to send from.
///
/// The kernel picks a random free port. Datagram sockets share none, whomever they are connected to, so that
/// net.ipv4.ip_local_port_range bounds their number: for all sockets without a `local` together, and for each `local`.
///
/// # Errors
/// What the kernel can say at once: no route, no descriptors; `WouldBlock` when there is no free port.
pub fn connect(remote: SocketAddr, local: Option<IpAddr>) -> io::Result<OwnedFd> {
    let family = if remote.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if let Some(local) = local {
        bind(&socket, &SocketAddr::new(local, 0))?;
    }
    rustix::net::connect(&socket, &remote)?;
    Ok(socket)
}

/// Lets the kernel hand over trains of equal-sized datagrams in one piece (UDP_GRO).
///
/// A system call that a flow of single datagrams is better off without.
///
/// # Errors
/// The kernel does not know it.
pub fn coalesce(socket: impl AsFd) -> io::Result<()> {
    option::set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Ends that: every datagram is received by itself.
///
/// # Errors
/// The kernel does not know it.
pub fn separate(socket: impl AsFd) -> io::Result<()> {
    option::set(socket, libc::SOL_UDP, libc::UDP_GRO, 0)
}

/// Takes a listening socket out of the group of those that share its address: it gets no more datagrams, and what is
/// queued on it can still be received and answered. Closing it at once would lose the queue.
///
/// New datagrams go to the others of the group, and the flows of the others stay where they are until it is closed. When
/// none is left, the kernel answers that nobody listens.
///
/// # Errors
/// Whatever the kernel refuses.
pub fn retire(listener: BorrowedFd<'_>) -> io::Result<()> {
    let socket = SockRef::from(&listener);
    let Some(mut itself) = socket.local_addr()?.as_socket() else { return Err(io::ErrorKind::InvalidInput.into()) };
    match itself.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => itself.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => itself.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    // The kernel passes over the connected ones when it chooses from a group. Connected to itself, this one receives nothing.
    socket.connect(&itself.into()).or_else(|_| ignore_new_datagrams(&socket))
}

/// For when there is no route to the loopback address: new datagrams of this socket's share are lost.
fn ignore_new_datagrams(socket: &Socket) -> io::Result<()> {
    const RETURN: u16 = 0x06;
    socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])
}
