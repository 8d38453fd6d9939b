//! What a flow is known by: to the world by its key, to us by its identity.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::hash::hash;

/// What makes two datagrams belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowKey {
    /// Who sends.
    pub client: SocketAddr,
    /// To which address of ours; only known, and only needed, on a wildcard bind.
    pub destination: Option<IpAddr>,
    /// Which backend, by the hash of its identity, where each datagram is given one anew; otherwise 0.
    pub backend: u64,
}

/// A flow while it lives on one backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    pub(super) index: u32,
    /// Counts everything that was ever given an identity; it takes hours at any rate to come round.
    pub(super) generation: u32,
}

impl FlowId {
    /// As one number, for the kernel to give back.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From the number that [`FlowId::token`] made.
    pub fn from_token(token: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("masked");
        Self { index: half(token), generation: half(token >> 32) }
    }
}

impl FlowKey {
    /// The scope of an address counts: the same link-local address on two links is two clients.
    pub(super) fn hash(&self, seed: u64) -> u64 {
        let mut bytes = [0; 46];
        bytes[..16].copy_from_slice(&octets(self.client.ip()));
        bytes[16..18].copy_from_slice(&self.client.port().to_ne_bytes());
        if let SocketAddr::V6(client) = self.client {
            bytes[18..22].copy_from_slice(&client.scope_id().to_ne_bytes());
        }
        if let Some(destination) = self.destination {
            bytes[22..38].copy_from_slice(&octets(destination));
        }
        bytes[38..].copy_from_slice(&self.backend.to_ne_bytes());
        hash(&bytes, seed)
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => Ipv6Addr::octets(&ip),
    }
}
