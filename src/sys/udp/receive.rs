//! Receiving many datagrams with one system call, from many sockets into one place.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use super::control::{Ancillary, Control};
use super::message::empty_header;
use super::probe::Capabilities;
use super::sockaddr::SockAddr;

/// From the beginning of one slot to that of the next the distance is its length and this: at a power of two, the first
/// bytes of all slots would compete for the same few lines of the cache.
const STAGGER: usize = 1_600;

/// Datagrams that came from one sender in one piece, all but the last of one length; or only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Train<'a> {
    /// Who sent it; not told on a connected socket, which hears one address only.
    pub source: Option<SocketAddr>,
    /// The address of ours that it was sent to, if the socket is bound to a wildcard address.
    pub destination: Option<IpAddr>,
    /// The length of every datagram but the last, which may be shorter.
    pub segment_size: usize,
    /// All datagrams, one behind the other.
    pub bytes: &'a [u8],
    /// Whether the end did not fit into the memory of the receiver and is lost.
    pub is_truncated: bool,
    /// How many datagrams this socket has lost so far for want of room; not told before the first one.
    pub overruns: Option<u32>,
}

impl<'a> Train<'a> {
    /// The datagrams one by one. There is always one; it may be empty.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let empty = self.bytes.is_empty().then_some(self.bytes);
        empty.into_iter().chain(self.bytes.chunks(self.segment_size.max(1)))
    }

    /// How many datagrams these are.
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment_size.max(1)).max(1)
    }
}

/// What one call has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Where it lies, for [`Receiver::trains`].
    pub slots: Range<usize>,
    /// Whether the socket had nothing left, as far as one call tells. Otherwise another call finds out.
    pub is_drained: bool,
}

/// The memory that datagrams are received into: a number of slots, each of which takes a datagram or a train of them.
///
/// Calls fill the free slots one after the other until [`clear`](Self::clear) frees them all; so what came from many
/// sockets can be kept together and sent on at once. Slots that are never filled are never touched and cost no memory.
/// A receiver stays on its thread.
#[derive(Debug)]
pub struct Receiver {
    batches: bool,
    bytes_per_slot: usize,
    filled: Vec<Filled>,
    /// Headers that ask for the sender's address, and headers that do not. Between two calls they are as they were made.
    unconnected: Vec<libc::mmsghdr>,
    connected: Vec<libc::mmsghdr>,
    /// What the headers point to. These vectors never change their length, so that their content stays where it is, and
    /// nobody but the kernel writes to it.
    names: Vec<SockAddr>,
    controls: Vec<Control>,
    bytes: Vec<u8>,
    #[expect(dead_code, reason = "the headers point to it")]
    vectors: Vec<libc::iovec>,
}

/// What is known about a filled slot.
#[derive(Debug, Clone, Copy)]
struct Filled {
    source: Option<SocketAddr>,
    length: usize,
    is_truncated: bool,
    ancillary: Ancillary,
}

impl Receiver {
    /// Memory for `slots` datagrams or trains of at most `bytes_per_slot` bytes each. No datagram or train is longer than
    /// 65,535 bytes.
    pub fn new(slots: usize, bytes_per_slot: usize, capabilities: Capabilities) -> Self {
        let mut names = vec![SockAddr::EMPTY; slots];
        let mut controls = vec![Control::EMPTY; slots];
        // Zeroed memory of this size comes from the kernel page by page, on first use.
        let mut bytes = vec![0; slots * (bytes_per_slot + STAGGER)];
        let start = bytes.as_mut_ptr();
        let mut vectors: Vec<_> = (0..slots)
            .map(|slot| libc::iovec {
                iov_base: start.wrapping_add(slot * (bytes_per_slot + STAGGER)).cast(),
                iov_len: bytes_per_slot,
            })
            .collect();
        let (first_name, first_control, first_vector) =
            (names.as_mut_ptr(), controls.as_mut_ptr(), vectors.as_mut_ptr());
        let header = |slot: usize, name: *mut SockAddr| {
            let mut header = empty_header();
            header.msg_hdr.msg_name = name.cast();
            header.msg_hdr.msg_namelen = if name.is_null() { 0 } else { SockAddr::CAPACITY };
            header.msg_hdr.msg_iov = first_vector.wrapping_add(slot);
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = first_control.wrapping_add(slot).cast();
            header.msg_hdr.msg_controllen = Control::CAPACITY as _;
            header
        };
        Self {
            batches: capabilities.batches(),
            bytes_per_slot,
            filled: Vec::with_capacity(slots),
            unconnected: (0..slots).map(|slot| header(slot, first_name.wrapping_add(slot))).collect(),
            connected: (0..slots).map(|slot| header(slot, ptr::null_mut())).collect(),
            names,
            controls,
            bytes,
            vectors,
        }
    }

    /// Receives what has arrived from any address.
    ///
    /// # Errors
    /// Whatever the kernel says; `WouldBlock` when nothing has arrived.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<Received> {
        self.fill(socket.as_fd(), Kind::Unconnected)
    }

    /// Receives what has arrived on a connected socket, without the sender's name.
    ///
    /// # Errors
    /// Whatever the kernel says; `WouldBlock` when nothing has arrived. What ICMP said about datagrams that were sent comes
    /// first: after any other error than `WouldBlock` there may be datagrams waiting that no readiness will tell of.
    pub fn receive_connected(&mut self, socket: impl AsFd) -> io::Result<Received> {
        self.fill(socket.as_fd(), Kind::Connected)
    }

    /// Whether no slot is free.
    pub fn is_full(&self) -> bool {
        self.filled.len() == self.names.len()
    }

    /// Frees all slots.
    pub fn clear(&mut self) {
        self.filled.clear();
    }

    /// What lies in these slots.
    pub fn trains(&self, slots: Range<usize>) -> impl Iterator<Item = Train<'_>> {
        slots.map(|slot| self.at(slot))
    }

    /// What lies in this slot, which is a filled one.
    pub fn at(&self, slot: usize) -> Train<'_> {
        let filled = &self.filled[slot];
        let start = slot * (self.bytes_per_slot + STAGGER);
        Train {
            source: filled.source,
            destination: filled.ancillary.destination,
            segment_size: filled.ancillary.segment_size.unwrap_or(filled.length),
            bytes: &self.bytes[start..start + filled.length],
            is_truncated: filled.is_truncated,
            overruns: filled.ancillary.overruns,
        }
    }

    fn fill(&mut self, socket: BorrowedFd<'_>, kind: Kind) -> io::Result<Received> {
        let first = self.filled.len();
        if self.is_full() {
            return Ok(Received { slots: first..first, is_drained: false });
        }
        let count = if self.batches { self.receive_many(socket, kind)? } else { self.receive_one(socket, kind)? };
        for slot in first..first + count {
            self.finish_slot(slot, kind);
        }
        Ok(Received { slots: first..first + count, is_drained: self.batches && !self.is_full() })
    }

    fn headers(&mut self, kind: Kind) -> &mut [libc::mmsghdr] {
        let free = self.filled.len();
        match kind {
            Kind::Unconnected => &mut self.unconnected[free..],
            Kind::Connected => &mut self.connected[free..],
        }
    }

    #[expect(unsafe_code, reason = "recvmmsg has no safe wrapper")]
    fn receive_many(&mut self, socket: BorrowedFd<'_>, kind: Kind) -> io::Result<usize> {
        let headers = self.headers(kind);
        // More than a thousand are not asked for: the kernel caps it there.
        let length = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
        // SAFETY: `headers` is `length` long. Each points to memory of this receiver that is as long as the header says
        // (`new` made them so, `finish_slot` restores them after each call), that only the kernel writes to, and that nobody
        // borrows, for `self` is borrowed mutably. The descriptor is open for as long as it is borrowed.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), length, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// One datagram only: if a second call failed, its error would be lost.
    #[expect(unsafe_code, reason = "recvmsg of rustix knows neither IP_PKTINFO nor UDP_GRO")]
    fn receive_one(&mut self, socket: BorrowedFd<'_>, kind: Kind) -> io::Result<usize> {
        let header = &mut self.headers(kind)[0];
        // SAFETY: as for recvmmsg, for one header; there is one, for a slot is free.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header.msg_hdr, libc::MSG_DONTWAIT) };
        header.msg_len = libc::c_uint::try_from(length).map_err(|_| io::Error::last_os_error())?;
        Ok(1)
    }

    /// Reads what the kernel said about a slot, and makes its header as it was.
    fn finish_slot(&mut self, slot: usize, kind: Kind) {
        let header = match kind {
            Kind::Unconnected => &mut self.unconnected[slot],
            Kind::Connected => &mut self.connected[slot],
        };
        // In a truncated datagram the length is what is left of it, unless the flag MSG_TRUNC asked for the rest.
        let length = usize::try_from(header.msg_len).unwrap_or(usize::MAX).min(self.bytes_per_slot);
        let ancillary = self.controls[slot].read(header.msg_hdr.msg_controllen as _);
        let (source, name_capacity) = match kind {
            Kind::Unconnected => (self.names[slot].addr(), SockAddr::CAPACITY),
            Kind::Connected => (None, 0),
        };
        let is_truncated = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        header.msg_hdr.msg_namelen = name_capacity;
        header.msg_hdr.msg_controllen = Control::CAPACITY as _;
        self.filled.push(Filled { source, length, is_truncated, ancillary });
    }
}

/// From where a socket receives.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// From any address.
    Unconnected,
    /// One address.
    Connected,
}
