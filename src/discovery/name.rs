//! Names that stand for an address. Pure: asking what it is, is the business of [`resolver`](super::resolver).

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use crate::config::BackendAddr;

/// A host name with a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName {
    /// As written.
    pub host: String,
    /// Never 0.
    pub port: NonZeroU16,
}

impl HostName {
    /// The name in an address, if it is one.
    pub fn of(address: &BackendAddr) -> Option<Self> {
        match address {
            BackendAddr::Name { host, port } => Some(Self { host: host.clone(), port: *port }),
            BackendAddr::Inet(_) | BackendAddr::Unix(_) => None,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The address that a name stands for when the resolver's answer is `addrs`: the `last` one if that is still among them,
/// otherwise the least, so that instances that see the answer in different orders agree.
///
/// An answer without addresses is none, and leaves what there was.
pub fn choose(last: Option<SocketAddr>, addrs: &[SocketAddr]) -> Option<SocketAddr> {
    last.filter(|last| addrs.contains(last)).or_else(|| addrs.iter().min().copied()).or(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_still_in_the_answer_stays() {
        let [one, two, three] = [1, 2, 3].map(|last| SocketAddr::from(([192, 0, 2, last], 5432)));
        assert_eq!(choose(Some(two), &[one, two]), Some(two));
        assert_eq!(choose(Some(two), &[three, one]), Some(one));
        assert_eq!(choose(None, &[three, two]), Some(two));
    }

    #[test]
    fn without_an_answer_the_last_good_address_stays() {
        let addr = SocketAddr::from(([192, 0, 2, 1], 5432));
        assert_eq!(choose(Some(addr), &[]), Some(addr));
        assert_eq!(choose(None, &[]), None);
    }
}
