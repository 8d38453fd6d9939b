//! Socket addresses in the layout of the kernel: `sockaddr_in` and `sockaddr_in6`, as bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The size of `sockaddr_in`.
const V4_BYTES: usize = 16;
/// The size of `sockaddr_in6`, the longer one.
const V6_BYTES: usize = 28;

#[expect(clippy::cast_possible_truncation, reason = "sa_family_t has 16 bits; the constants fit")]
const V4_FAMILY: u16 = libc::AF_INET as u16;
#[expect(clippy::cast_possible_truncation, reason = "sa_family_t has 16 bits; the constants fit")]
const V6_FAMILY: u16 = libc::AF_INET6 as u16;

/// An address as the kernel reads and writes it. The alignment is that of the C structures.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(4))]
pub(super) struct SockAddr([u8; V6_BYTES]);

impl SockAddr {
    /// Room for the kernel to write an address into.
    pub(super) const EMPTY: Self = Self([0; V6_BYTES]);

    /// How many bytes the kernel may write.
    pub(super) const CAPACITY: libc::socklen_t = {
        assert!(V6_BYTES == 28);
        28
    };

    pub(super) fn new(addr: SocketAddr) -> Self {
        let mut bytes = [0; V6_BYTES];
        bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
        match addr {
            SocketAddr::V4(addr) => {
                bytes[..2].copy_from_slice(&V4_FAMILY.to_ne_bytes());
                bytes[4..8].copy_from_slice(&addr.ip().octets());
            }
            SocketAddr::V6(addr) => {
                bytes[..2].copy_from_slice(&V6_FAMILY.to_ne_bytes());
                bytes[4..8].copy_from_slice(&addr.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&addr.ip().octets());
                bytes[24..].copy_from_slice(&addr.scope_id().to_ne_bytes());
            }
        }
        Self(bytes)
    }

    /// How many bytes of it make the address.
    pub(super) fn length(&self) -> usize {
        if self.family() == V4_FAMILY { V4_BYTES } else { V6_BYTES }
    }

    /// The address, if it is one of IPv4 or IPv6.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        let port = u16::from_be_bytes(self.bytes_at(2));
        match self.family() {
            V4_FAMILY => Some(SocketAddrV4::new(Ipv4Addr::from(self.bytes_at::<4>(4)), port).into()),
            V6_FAMILY => {
                let flowinfo = u32::from_ne_bytes(self.bytes_at(4));
                let scope_id = u32::from_ne_bytes(self.bytes_at(24));
                Some(SocketAddrV6::new(Ipv6Addr::from(self.bytes_at::<16>(8)), port, flowinfo, scope_id).into())
            }
            _ => None,
        }
    }

    fn family(&self) -> u16 {
        u16::from_ne_bytes(self.bytes_at(0))
    }

    fn bytes_at<const N: usize>(&self, offset: usize) -> [u8; N] {
        std::array::from_fn(|index| self.0[offset + index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        let v6 = SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, 4), 53, 5, 7);
        for addr in [SocketAddr::from(([192, 0, 2, 1], 65_535)), v6.into()] {
            assert_eq!(SockAddr::new(addr).addr(), Some(addr));
        }
        assert_eq!(SockAddr::EMPTY.addr(), None);
    }
}
