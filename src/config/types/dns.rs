//! What a DNS probe asks about, asks for and takes for an answer.

use std::fmt;

/// A domain name in wire format (RFC 1035, 3.1): labels with their lengths, the root's empty one last.
#[derive(Clone, PartialEq, Eq)]
pub struct DnsName(Vec<u8>);

/// A type of resource records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordType(pub u16);

/// The RCODE of an answer (RFC 1035, 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub u8);

impl RecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
}

impl DnsName {
    /// Of a label, and of a whole name in wire format (RFC 1035, 2.3.4).
    const MAX_LABEL: usize = 63;
    const MAX_NAME: usize = 255;

    /// A name as it is written, with or without the dot at its end; nothing if it is none.
    ///
    /// Backslash escapes are not understood: no probe needs such a name.
    pub(in crate::config) fn parse(text: &str) -> Option<Self> {
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
