//! How the health of backends is found out: the active check, the passive one, and what a DNS probe asks.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

/// Active probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a probe does.
    pub probe: Probe,
    /// Where probes go on the backend's address; absent: to the port that clients are sent to.
    pub port: Option<NonZeroU16>,
    /// Between the starts of two probes of a backend, before jitter.
    pub interval: Duration,
    /// Bound on one probe; not above `interval`.
    pub timeout: Duration,
    /// Consecutive successes that bring a backend up.
    pub rise: NonZeroU16,
    /// Consecutive failures that take a backend down.
    pub fall: NonZeroU16,
}

/// What a probe does and what it takes for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Connects.
    Tcp,
    /// Sends a datagram and waits for one.
    Udp(UdpProbe),
    /// Asks a name server over UDP.
    Dns(DnsProbe),
}

/// A datagram and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpProbe {
    /// What is sent.
    pub send: Vec<u8>,
    /// What the answer begins with; empty: any answer will do.
    pub expect: Vec<u8>,
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsProbe {
    /// What is asked about.
    pub query: DnsName,
    /// What is asked for.
    pub record: RecordType,
    /// The only answer that passes; absent: every one but SERVFAIL.
    pub rcode: Option<ResponseCode>,
}

/// A domain name in wire format (RFC 1035, 3.1): labels with their lengths, the root's empty one last.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsName(Vec<u8>);

/// A type of resource records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType(pub u16);

/// The RCODE of an answer (RFC 1035, 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub u8);

/// Judging a backend by what becomes of the datagrams of clients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassiveCheck {
    /// Datagrams in a row without a reply that make a flow unanswered; fewer where a flow has fewer in all, by
    /// `requests` of its listener.
    pub unanswered: NonZeroU32,
    /// Flows that must be unanswered, or refused by the backend's machine, for a failure.
    pub flows: NonZeroU32,
    /// The time within which they must be.
    pub window: Duration,
    /// How long a backend stays out for the first time; each further time by as much more. Where there are probes, they
    /// decide the first time, and each further time they may do so by as much later.
    pub eject_for: Duration,
    /// The most that grows to.
    pub eject_for_at_most: Duration,
    /// The share of a pool's backends, from 0 to 1, that may be out at one time for one more to be taken out by this
    /// check.
    pub max_ejected: f64,
}

impl DnsName {
    /// Of a label, and of a whole name in wire format (RFC 1035, 2.3.4).
    const MAX_LABEL: usize = 63;
    const MAX_NAME: usize = 255;

    /// A name as it is written, with or without the dot at its end; nothing if it is none.
    ///
    /// Backslash escapes are not understood: nobody's health depends on such a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        let labels = if text == "." { "" } else { text.strip_suffix('.').unwrap_or(text) };
        if labels.is_empty() && text != "." {
            return None;
        }
        for label in labels.split('.').filter(|_| !labels.is_empty()) {
            let length = u8::try_from(label.len()).ok()?;
            let is_plain = label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
            if label.is_empty() || label.len() > Self::MAX_LABEL || !is_plain {
                return None;
            }
            wire.push(length);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        (wire.len() <= Self::MAX_NAME).then_some(Self(wire))
    }

    /// The name in wire format.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsName({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        let wire = |text| DnsName::parse(text).map(|name| name.wire().to_vec());
        assert_eq!(wire("example.com").as_deref(), Some(&b"\x07example\x03com\x00"[..]));
        assert_eq!(wire("_sip._udp.a.").as_deref(), Some(&b"\x04_sip\x04_udp\x01a\x00"[..]));
        assert_eq!(wire(".").as_deref(), Some(&b"\x00"[..]));
    }

    #[test]
    fn what_is_no_name_is_none() {
        let label = "a".repeat(63);
        let full = [&*label, &label, &label, &"a".repeat(61)].join(".");
        assert_eq!(DnsName::parse(&full).map(|name| name.wire().len()), Some(255));
        for bad in ["", "..", ".a", "a..b", "a b", "a\\.b", &"a".repeat(64), &format!("{full}a"), "b\u{fc}cher.de"] {
            assert_eq!(DnsName::parse(bad), None, "{bad}");
        }
    }
}
