//! What the hashing policies see of a client: a number that stays the same over processes, machines and releases.

use std::net::{IpAddr, SocketAddr};

use crate::config::HashKey;
use crate::hash::hash;
use crate::sys::socket::ClientAddr;

/// Seeds the hash of clients, so that it is independent of the hash of identities.
const SEED: u64 = 0x636c_6965_6e74_0000;

/// The key of a client. An IPv4 address and the same address mapped to IPv6 are one client; unix clients all look
/// alike.
pub fn of_client(client: ClientAddr, what: HashKey) -> u64 {
    match client {
        ClientAddr::Inet(addr) => of_addr(addr, what),
        ClientAddr::Unix => 0,
    }
}

/// Hashes the address as 16 bytes of IPv6 and the port as 2, which are 0 if the port does not count.
fn of_addr(addr: SocketAddr, what: HashKey) -> u64 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let port = match what {
        HashKey::SourceIp => 0,
        HashKey::SourceIpPort => addr.port(),
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&port.to_be_bytes());
    hash(&bytes, SEED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(addr: &str, what: HashKey) -> u64 {
        of_client(ClientAddr::Inet(addr.parse().expect("is an address")), what)
    }

    /// A change here moves every client of every hashing policy at the next upgrade.
    #[test]
    fn golden_vectors() {
        for (addr, source_ip, source_ip_port) in [
            ("10.0.0.11:5432", 0x0df6_e239_513d_a863, 0xe3f8_0bf4_a834_8d19),
            ("10.0.0.11:5433", 0x0df6_e239_513d_a863, 0x553a_ddaf_4523_6b93),
            ("10.0.0.12:5432", 0xff71_2b5c_d08a_657a, 0x534d_3b02_fdd6_ed66),
            ("[2001:db8::1]:5432", 0xc00e_a118_af1b_665e, 0x9131_14d5_761a_f5c7),
            ("[::1]:1", 0x54c9_5d01_b41b_a521, 0x8026_c1ed_9e5b_69d6),
        ] {
            let keys = (key(addr, HashKey::SourceIp), key(addr, HashKey::SourceIpPort));
            assert_eq!(keys, (source_ip, source_ip_port), "{addr}: {:#018x} {:#018x}", keys.0, keys.1);
        }
    }

    #[test]
    fn a_mapped_address_is_the_same_client() {
        for what in [HashKey::SourceIp, HashKey::SourceIpPort] {
            assert_eq!(key("[::ffff:10.0.0.11]:5432", what), key("10.0.0.11:5432", what));
        }
    }

    #[test]
    fn the_scope_of_an_address_says_nothing_of_the_client() {
        assert_eq!(key("[fe80::1%2]:1", HashKey::SourceIpPort), key("[fe80::1%3]:1", HashKey::SourceIpPort));
    }

    #[test]
    fn unix_clients_are_one() {
        assert_eq!(of_client(ClientAddr::Unix, HashKey::SourceIp), 0);
        assert_eq!(of_client(ClientAddr::Unix, HashKey::SourceIpPort), 0);
    }
}
