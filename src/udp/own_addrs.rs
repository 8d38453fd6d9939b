//! Which addresses are our own: a datagram that claims to come from one of our listeners would go round for ever.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::sys::clock::Tick;

/// How long a list of the machine's addresses is good for. An address that has just come is taken for a stranger's for so
/// long, which lets a few datagrams go round.
const FRESH: Duration = Duration::from_secs(1);

/// The addresses of this machine.
#[derive(Debug, Default)]
pub(super) struct OwnAddrs {
    ips: Vec<IpAddr>,
    read_at: Option<Tick>,
}

impl OwnAddrs {
    /// Whether `client` is one of the `bound` addresses. The machine is only asked about a client whose port is one of
    /// ours and about a wildcard bind, and that at most once a second.
    pub(super) fn contain(&mut self, client: SocketAddr, bound: &[SocketAddr], now: Tick) -> bool {
        let is_same_port = |addr: &&SocketAddr| addr.port() == client.port() && addr.is_ipv4() == client.is_ipv4();
        bound.iter().filter(is_same_port).any(|addr| {
            addr.ip() == client.ip() || (addr.ip().is_unspecified() && self.is_of_this_machine(client.ip(), now))
        })
    }

    fn is_of_this_machine(&mut self, ip: IpAddr, now: Tick) -> bool {
        if self.read_at.is_none_or(|at| now.since(at) >= FRESH) {
            self.read_at = Some(now);
            match if_addrs::get_if_addrs() {
                Ok(interfaces) => self.ips = interfaces.into_iter().map(|interface| interface.ip()).collect(),
                // The old list is better than none.
                Err(error) => tracing::debug!(%error, "cannot list the addresses of this machine"),
            }
        }
        // All of 127.0.0.0/8 is ours, although the interface has one of them.
        ip.is_loopback() || self.ips.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_addresses_that_listeners_are_bound_to_are_our_own() {
        let mut own = OwnAddrs::default();
        let bound = ["127.0.0.1:53", "0.0.0.0:123", "[::]:53"].map(|addr| addr.parse().expect("an address"));
        for (client, expected) in [
            ("127.0.0.1:53", true),
            ("127.0.0.2:53", false),
            ("127.0.0.1:54", false),
            ("127.9.9.9:123", true),
            // Of the block for documentation, which no machine has.
            ("192.0.2.1:123", false),
            ("[::1]:53", true),
            ("[::1]:123", false),
            ("[2001:db8::1]:53", false),
        ] {
            let client = client.parse().expect("an address");
            assert_eq!(own.contain(client, &bound, Tick::now()), expected, "{client}");
        }
    }
}
