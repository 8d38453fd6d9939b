//! Control messages, which travel beside the bytes of a datagram: where it was sent to, how long its segments are.
//!
//! A control message is a `cmsghdr` (a length that counts itself, a level, a kind) and a payload; the next one begins at
//! the next multiple of a word. It is read and written as plain bytes here, so that none of it is unsafe.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WORD: usize = size_of::<usize>();
const HEADER: usize = size_of::<libc::cmsghdr>().next_multiple_of(WORD);

/// Room for everything that a socket of ours is told (in6_pktinfo, the segment size and the overruns take 88 bytes) or
/// tells (64 bytes).
const CAPACITY: usize = 96;

/// The control messages of one datagram, or room for the kernel to write them.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CAPACITY]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CAPACITY]);
    pub(super) const CAPACITY: usize = CAPACITY;

    /// What the kernel wrote, of which it said that it is `length` bytes.
    pub(super) fn read(&self, length: usize) -> Ancillary {
        let mut ancillary = Ancillary::default();
        let mut rest = &self.0[..length.min(CAPACITY)];
        while let Some((level, kind, payload, next)) = split_first(rest) {
            ancillary.note(level, kind, payload);
            rest = next;
        }
        ancillary
    }
}

/// What the kernel tells about a datagram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ancillary {
    pub(super) destination: Option<IpAddr>,
    pub(super) segment_size: Option<usize>,
    pub(super) overruns: Option<u32>,
}

impl Ancillary {
    fn note(&mut self, level: i32, kind: i32, payload: &[u8]) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // Not where the datagram was sent to but the address to answer from: they differ for a broadcast.
                let bytes = bytes_at::<4>(payload, offset_of!(libc::in_pktinfo, ipi_spec_dst));
                self.destination = bytes.map(|bytes| Ipv4Addr::from(bytes).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let bytes = bytes_at::<16>(payload, offset_of!(libc::in6_pktinfo, ipi6_addr));
                self.destination = bytes.map(|bytes| Ipv6Addr::from(bytes).into());
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let size = bytes_at(payload, 0).map(i32::from_ne_bytes);
                self.segment_size = size.and_then(|size| usize::try_from(size).ok());
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => self.overruns = bytes_at(payload, 0).map(u32::from_ne_bytes),
            _ => {}
        }
    }
}

/// Level, kind and payload of the first message, and what follows it.
fn split_first(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let length = usize::from_ne_bytes(bytes_at(bytes, offset_of!(libc::cmsghdr, cmsg_len))?);
    let level = i32::from_ne_bytes(bytes_at(bytes, offset_of!(libc::cmsghdr, cmsg_level))?);
    let kind = i32::from_ne_bytes(bytes_at(bytes, offset_of!(libc::cmsghdr, cmsg_type))?);
    let payload = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    Some((level, kind, payload, next))
}

fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

/// Writes control messages one after the other.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    control: &'a mut Control,
    length: usize,
}

impl<'a> Encoder<'a> {
    /// Writes behind the first `length` bytes, which hold messages already.
    pub(super) fn after(control: &'a mut Control, length: usize) -> Self {
        Self { control, length }
    }

    /// The bytes in use.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The datagram is to leave from this address.
    pub(super) fn leave_from(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(source) => {
                let mut payload = [0; size_of::<libc::in_pktinfo>()];
                let offset = offset_of!(libc::in_pktinfo, ipi_spec_dst);
                payload[offset..offset + 4].copy_from_slice(&source.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &payload);
            }
            IpAddr::V6(source) => {
                let mut payload = [0; size_of::<libc::in6_pktinfo>()];
                let offset = offset_of!(libc::in6_pktinfo, ipi6_addr);
                payload[offset..offset + 16].copy_from_slice(&source.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &payload);
            }
        }
    }

    /// The bytes are to be cut into datagrams of this size; the last may be shorter.
    pub(super) fn cut_into(&mut self, segment_size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment_size.to_ne_bytes());
    }

    fn push(&mut self, level: i32, kind: i32, payload: &[u8]) {
        let length = HEADER + payload.len();
        let message = &mut self.control.0[self.length..self.length + length.next_multiple_of(WORD)];
        message.fill(0);
        put(message, offset_of!(libc::cmsghdr, cmsg_len), &length.to_ne_bytes());
        put(message, offset_of!(libc::cmsghdr, cmsg_level), &level.to_ne_bytes());
        put(message, offset_of!(libc::cmsghdr, cmsg_type), &kind.to_ne_bytes());
        put(message, HEADER, payload);
        self.length += message.len();
    }
}

fn put(message: &mut [u8], offset: usize, bytes: &[u8]) {
    message[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for addr in [IpAddr::from([192, 0, 2, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let mut control = Control::EMPTY;
            let mut encoder = Encoder::after(&mut control, 0);
            encoder.leave_from(addr);
            encoder.push(libc::SOL_UDP, libc::UDP_GRO, &1_200_i32.to_ne_bytes());
            encoder.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
            let length = encoder.length();
            let ancillary = Ancillary { destination: Some(addr), segment_size: Some(1_200), overruns: Some(7) };
            assert_eq!(control.read(length), ancillary);
            assert_eq!(control.read(0), Ancillary::default());
        }
    }

    #[test]
    fn a_message_that_is_cut_off_or_makes_no_sense_ends_the_reading() {
        let mut control = Control::EMPTY;
        let mut encoder = Encoder::after(&mut control, 0);
        encoder.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        let length = encoder.length();
        for shorter in 0..length - WORD + 4 {
            assert_eq!(control.read(shorter), Ancillary::default(), "{shorter} bytes");
        }
        for nonsense in [0, HEADER - 1, CAPACITY + 1, usize::MAX - 8] {
            control.0[..WORD].copy_from_slice(&nonsense.to_ne_bytes());
            assert_eq!(control.read(CAPACITY), Ancillary::default(), "a length of {nonsense}");
        }
    }
}
