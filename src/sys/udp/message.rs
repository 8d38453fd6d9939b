//! A message: what one send carries, in the layout of the kernel.

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::control::{Control, Encoder};
use super::sockaddr::SockAddr;

/// The longest run of bytes that one send may carry: what is left of 65,535 after the headers of IPv4 and UDP.
pub(super) const MAX_BYTES: usize = 65_507;

/// The kernel cuts one send into no more datagrams than this (UDP_MAX_SEGMENTS of the kernels that brought UDP_SEGMENT).
pub(super) const MAX_SEGMENTS: usize = 64;

/// Where a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// To whom; a connected socket needs none.
    pub destination: Option<SocketAddr>,
    /// The address of ours that it leaves from; the socket or the routing table decides if there is none.
    pub source: Option<IpAddr>,
}

impl Route {
    /// To whom a connected socket is connected.
    pub const CONNECTED: Self = Self { destination: None, source: None };
}

/// Datagrams of one length (the last may be shorter) that leave in one piece.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) route: Route,
    name: Option<SockAddr>,
    control: Control,
    /// Bytes of `control` without the request to cut the message into segments, and with it.
    plain_control: usize,
    full_control: usize,
    /// Where its bytes are, as positions in the vectors of the sender.
    pub(super) vectors: Range<usize>,
    pub(super) segment_size: usize,
    pub(super) bytes: usize,
    pub(super) datagrams: usize,
}

impl Message {
    /// A message of one train.
    pub(super) fn new(
        route: Route,
        segment_size: usize,
        bytes: usize,
        datagrams: usize,
        vectors: Range<usize>,
    ) -> Self {
        let mut control = Control::EMPTY;
        let mut encoder = Encoder::after(&mut control, 0);
        if let Some(source) = route.source {
            encoder.leave_from(source);
        }
        let plain_control = encoder.length();
        let name = route.destination.map(SockAddr::new);
        let mut message = Self {
            route,
            name,
            control,
            plain_control,
            full_control: plain_control,
            vectors,
            segment_size,
            bytes,
            datagrams,
        };
        message.ask_for_segments();
        message
    }

    /// Only whole segments can be followed by more, and only by segments of the same length or one shorter.
    pub(super) fn has_room_for(&self, segment_size: usize, bytes: usize, datagrams: usize) -> bool {
        let is_whole = self.bytes == self.segment_size * self.datagrams;
        let fits_in = segment_size == self.segment_size || (datagrams == 1 && bytes < self.segment_size);
        is_whole
            && fits_in
            && bytes > 0
            && self.bytes + bytes <= MAX_BYTES
            && self.datagrams + datagrams <= MAX_SEGMENTS
    }

    /// Adds a train that there is [room](Self::has_room_for) for, whose bytes are those of the next vector.
    pub(super) fn extend(&mut self, bytes: usize, datagrams: usize) {
        self.bytes += bytes;
        self.datagrams += datagrams;
        self.vectors.end += 1;
        self.ask_for_segments();
    }

    fn ask_for_segments(&mut self) {
        if let Ok(segment_size) = u16::try_from(self.segment_size)
            && self.datagrams > 1
            && self.full_control == self.plain_control
        {
            let mut encoder = Encoder::after(&mut self.control, self.plain_control);
            encoder.cut_into(segment_size);
            self.full_control = encoder.length();
        }
    }

    /// A header that points to this message and to `vectors`, which have all of its bytes.
    pub(super) fn header(&mut self, vectors: &mut [libc::iovec]) -> libc::mmsghdr {
        self.header_with(vectors, self.full_control)
    }

    /// A header that points to this message and to `vector`, which has one of its datagrams.
    pub(super) fn header_of_one(&mut self, vector: &mut libc::iovec) -> libc::mmsghdr {
        self.header_with(std::slice::from_mut(vector), self.plain_control)
    }

    fn header_with(&mut self, vectors: &mut [libc::iovec], control: usize) -> libc::mmsghdr {
        let mut header = empty_header();
        if let Some(name) = &mut self.name {
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(name.length()).unwrap_or(SockAddr::CAPACITY);
            header.msg_hdr.msg_name = (&raw mut *name).cast();
        }
        header.msg_hdr.msg_iov = vectors.as_mut_ptr();
        header.msg_hdr.msg_iovlen = vectors.len() as _;
        if control > 0 {
            header.msg_hdr.msg_control = (&raw mut self.control).cast();
            header.msg_hdr.msg_controllen = control as _;
        }
        header
    }
}

/// A header without name, bytes and control messages.
#[expect(unsafe_code, reason = "on some systems the structure has fields that cannot be named")]
pub(super) fn empty_header() -> libc::mmsghdr {
    // SAFETY: it consists of integers and raw pointers, for which zeroes are a valid value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
