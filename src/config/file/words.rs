//! Words that stand for a choice, each with what it means.

use toml::de::DeValue;

use super::keys::Shape;
use super::read::{Raw, Read, Reader, Written};
use crate::config::error::{Problem, did_you_mean, quote};
use crate::config::types::{HashKey, OnBackendDown, OnDown, RecordType, ResponseCode, Transport};

/// A choice of a few, each of which has a word.
trait Words: Copy + PartialEq + 'static {
    /// All of them.
    const WORDS: &'static [(&'static str, Self)];
}

/// A policy without the keys that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyName {
    RoundRobin,
    LeastConnections,
    PowerOfTwo,
    LeastLatency,
    Random,
    Maglev,
}

/// What a probe does, without the keys that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeType {
    Tcp,
    Udp,
    Dns,
}

impl Words for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp)];
}

impl Words for PolicyName {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("round-robin", Self::RoundRobin),
        ("least-connections", Self::LeastConnections),
        ("power-of-two", Self::PowerOfTwo),
        ("least-latency", Self::LeastLatency),
        ("random", Self::Random),
        ("maglev", Self::Maglev),
    ];
}

impl Words for HashKey {
    const WORDS: &'static [(&'static str, Self)] =
        &[("source-ip", Self::SourceIp), ("source-ip-port", Self::SourceIpPort)];
}

impl Words for OnDown {
    const WORDS: &'static [(&'static str, Self)] = &[("keep", Self::Keep), ("close", Self::Close)];
}

impl Words for OnBackendDown {
    const WORDS: &'static [(&'static str, Self)] =
        &[("move", Self::Move), ("stick", Self::Stick), ("lame-duck", Self::LameDuck)];
}

impl Words for ProbeType {
    const WORDS: &'static [(&'static str, Self)] = &[("tcp", Self::Tcp), ("udp", Self::Udp), ("dns", Self::Dns)];
}

/// The types of records that servers are asked for (the registry of DNS parameters at IANA).
impl Words for RecordType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("A", Self::A),
        ("AAAA", Self(28)),
        ("NS", Self(2)),
        ("SOA", Self(6)),
        ("TXT", Self(16)),
        ("MX", Self(15)),
        ("CNAME", Self(5)),
        ("PTR", Self(12)),
        ("SRV", Self(33)),
        ("DNSKEY", Self(48)),
        ("HTTPS", Self(65)),
    ];
}

/// The answers that fit into a header (RFC 6895, 2.3).
impl Words for ResponseCode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("NOERROR", Self(0)),
        ("FORMERR", Self(1)),
        ("SERVFAIL", Self(2)),
        ("NXDOMAIN", Self(3)),
        ("NOTIMP", Self(4)),
        ("REFUSED", Self(5)),
        ("NOTAUTH", Self(9)),
    ];
}

impl<T: Words> Read for T {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::String(given) = raw.value else { return reader.refuse_type(raw, "a string", None) };
        if let Some((_, choice)) = T::WORDS.iter().find(|(word, _)| word == given) {
            return Some(*choice);
        }
        let words = || T::WORDS.iter().map(|(word, _)| *word);
        let help = did_you_mean(given, words()).unwrap_or_else(|| {
            let words: Vec<String> = words().map(|word| format!("`{word}`")).collect();
            format!("`{}` is {}", raw.key, words.join(" or "))
        });
        let message = format!("`{}` cannot be {}", raw.key, quote(given));
        reader.problems.report(Problem::new(raw.place, message).help(help));
        None
    }

    fn shape((): &()) -> Shape {
        Shape::Word(T::WORDS.iter().map(|(word, _)| *word).collect())
    }
}

impl<T: Words> Written for T {
    fn written(&self) -> String {
        let (word, _) = T::WORDS.iter().find(|(_, choice)| choice == self).expect("every choice has a word");
        format!("\"{word}\"")
    }
}
