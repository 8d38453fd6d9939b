//! Strings: any at all, and those that a probe sends, expects or asks for.

use super::keys::{Shape, Text};
use super::read::{Raw, Read, Reader, Refusal};
use crate::config::error::quote;
use crate::config::types::DnsName;

/// A datagram over the MTU of Ethernet comes in fragments, which many networks drop; a probe has no need of that.
const LARGEST_PROBE: usize = 1_400;

/// Bytes of a probe, written as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeText(pub(crate) Vec<u8>);

/// Bytes of a probe, written in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeHex(pub(crate) Vec<u8>);

impl Read for ProbeText {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, |text| short(text.into()).map(Self))
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "text", pattern: None })
    }
}

impl Read for ProbeHex {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, |text| hex(text).and_then(short).map(Self))
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "hex", pattern: Some("^ *([0-9A-Fa-f] *[0-9A-Fa-f] *)*$") })
    }
}

impl Read for DnsName {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, |text| {
            let help = "labels of up to 63 ASCII letters, digits, `-` and `_`, with dots between them";
            Self::parse(text).ok_or_else(|| (format!("{} is not a domain name", quote(text)), Some(help.to_owned())))
        })
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "domain name", pattern: Some("^[!-~]+$") })
    }
}

fn short(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if bytes.len() > LARGEST_PROBE {
        return Err((format!("a probe has at most {LARGEST_PROBE} bytes, and this is {}", bytes.len()), None));
    }
    Ok(bytes)
}

fn hex(text: &str) -> Result<Vec<u8>, Refusal> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|letter| *letter != ' ')
        .map(|letter| letter.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2));
    let bytes = pairs.map(|digits| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    let help = "two hex digits a byte, spaces between bytes as you like: \"00 ff\"";
    bytes.ok_or_else(|| (format!("{} is not hex", quote(text)), Some(help.to_owned())))
}
