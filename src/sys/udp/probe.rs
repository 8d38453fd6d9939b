//! What the kernel at hand can do with datagrams.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use super::option;

/// What the kernel offers to move many datagrams at once, or why it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    segmentation: Result<(), Errno>,
    coalescing: Result<(), Errno>,
    batches: Result<(), Errno>,
}

impl Capabilities {
    /// What works without any of it: one datagram a system call.
    pub const NONE: Self =
        Self { segmentation: Err(Errno::OPNOTSUPP), coalescing: Err(Errno::OPNOTSUPP), batches: Err(Errno::OPNOTSUPP) };

    /// The same, with every datagram in a piece of its own.
    pub fn without_trains(self) -> Self {
        Self { segmentation: Self::NONE.segmentation, coalescing: Self::NONE.coalescing, ..self }
    }

    /// Asks the kernel. A filter of system calls may take away what the kernel has.
    ///
    /// # Errors
    /// There are no datagram sockets at all.
    pub fn probe() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
            .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP)))?;
        Ok(Self {
            segmentation: option::set(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 1_200).map_err(errno),
            coalescing: option::set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).map_err(errno),
            batches: receive_none(&socket).and_then(|()| send_none(&socket)).map_err(errno),
        })
    }

    /// Whether a train of datagrams can be sent in one piece (UDP_SEGMENT).
    pub fn segments(&self) -> bool {
        self.segmentation.is_ok()
    }

    /// Whether a train of datagrams can be received in one piece (UDP_GRO).
    pub fn coalesces(&self) -> bool {
        self.coalescing.is_ok()
    }

    /// Whether one system call moves many datagrams (recvmmsg, sendmmsg).
    pub fn batches(&self) -> bool {
        self.batches.is_ok()
    }

    /// What is missing, by the name that the kernel has for it, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&'static str, io::Error)> {
        [("UDP_SEGMENT", self.segmentation), ("UDP_GRO", self.coalescing), ("recvmmsg and sendmmsg", self.batches)]
            .into_iter()
            .filter_map(|(name, result)| result.err().map(|errno| (name, errno.into())))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[expect(unsafe_code, reason = "recvmmsg has no safe wrapper")]
fn receive_none(socket: &Socket) -> io::Result<()> {
    // SAFETY: with no messages the kernel touches no memory of ours. The descriptor is open while it is borrowed.
    let status = unsafe {
        libc::recvmmsg(socket.as_fd().as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT as _, ptr::null_mut())
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "sendmmsg has no safe wrapper")]
fn send_none(socket: &Socket) -> io::Result<()> {
    // SAFETY: with no messages the kernel touches no memory of ours. The descriptor is open while it is borrowed.
    let status = unsafe { libc::sendmmsg(socket.as_fd().as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT as _) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
impl Capabilities {
    /// Whatever this kernel may have and lack: all of its capabilities, each subset of them, and none.
    pub(super) fn subsets() -> impl Iterator<Item = Self> {
        let all = Self::probe().expect("there are datagram sockets");
        let keep =
            |subset: u8, bit: u8, has: Result<(), Errno>| if subset & bit == 0 { has } else { Err(Errno::NOSYS) };
        (0..8).map(move |lacking| Self {
            segmentation: keep(lacking, 1, all.segmentation),
            coalescing: keep(lacking, 2, all.coalescing),
            batches: keep(lacking, 4, all.batches),
        })
    }
}
