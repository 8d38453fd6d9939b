//! Health checks: active probes of three kinds, and the passive check.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::Lowering;
use super::address::Refusal;
use super::pool::LONGEST_ATTEMPT;
use super::udp::unix_backends;
use super::value::Show;
use crate::config::error::{Place, Problem, quote};
use crate::config::file;
use crate::config::read::{At, Field};
use crate::config::types::{DnsName, DnsProbe, HealthCheck, PassiveCheck, Probe, RecordType, ResponseCode, UdpProbe};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_RISE: NonZeroU16 = NonZeroU16::new(2).expect("2 is not 0");
const DEFAULT_FALL: NonZeroU16 = NonZeroU16::new(3).expect("3 is not 0");

const DEFAULT_UNANSWERED: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
const DEFAULT_FLOWS: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");
const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
const DEFAULT_EJECT_FOR: Duration = Duration::from_secs(10);
const DEFAULT_EJECT_FOR_AT_MOST: Duration = Duration::from_secs(5 * 60);
const DEFAULT_MAX_EJECTED: f64 = 0.5;

/// A datagram over the MTU of Ethernet comes in fragments, which many networks drop; a probe has no need of that.
const LARGEST_PROBE: usize = 1_400;

const PROBES: &[(&str, Kind)] = &[("tcp", Kind::Tcp), ("udp", Kind::Udp), ("dns", Kind::Dns)];

/// The types of records that servers are asked for (the registry of DNS parameters at IANA).
const RECORDS: &[(&str, RecordType)] = &[
    ("A", RecordType(1)),
    ("AAAA", RecordType(28)),
    ("NS", RecordType(2)),
    ("SOA", RecordType(6)),
    ("TXT", RecordType(16)),
    ("MX", RecordType(15)),
    ("CNAME", RecordType(5)),
    ("PTR", RecordType(12)),
    ("SRV", RecordType(33)),
    ("DNSKEY", RecordType(48)),
    ("HTTPS", RecordType(65)),
];

/// The answers that fit into a header (RFC 6895, 2.3).
const RCODES: &[(&str, ResponseCode)] = &[
    ("NOERROR", ResponseCode(0)),
    ("FORMERR", ResponseCode(1)),
    ("SERVFAIL", ResponseCode(2)),
    ("NXDOMAIN", ResponseCode(3)),
    ("NOTIMP", ResponseCode(4)),
    ("REFUSED", ResponseCode(5)),
    ("NOTAUTH", ResponseCode(9)),
];

/// The `type` key alone, without the keys that go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Dns,
}

impl Lowering<'_> {
    pub(super) fn health_check(&mut self, pool: &file::Pool) -> Option<HealthCheck> {
        let At { value: check, place } = pool.health_check.given()?;
        let kind = self.given_choice(&check.kind, PROBES);
        let interval = self.duration(&check.interval, LONGEST_ATTEMPT, DEFAULT_INTERVAL);
        let timeout = self.duration(&check.timeout, LONGEST_ATTEMPT, DEFAULT_TIMEOUT.min(interval));
        if let Some(given) = check.timeout.given()
            && timeout > interval
        {
            let message = format!("`timeout` is longer than `interval`, which is {}", Show(interval));
            let help = "a probe must be over before the next one starts";
            self.problems.report(Problem::new(given.place, message).help(help));
        }
        // Whatever a type that was refused had meant, its keys are not held against it.
        if kind.is_some() || check.kind.is_absent() {
            self.refuse_keys_of_other_types(check, kind.unwrap_or(Kind::Tcp));
            self.refuse_unix_probes(check, kind.unwrap_or(Kind::Tcp), pool);
        }
        Some(HealthCheck {
            probe: match kind.unwrap_or(Kind::Tcp) {
                Kind::Tcp => Probe::Tcp,
                Kind::Udp => Probe::Udp(self.udp_probe(check, *place)),
                Kind::Dns => self.dns_probe(check, *place).map_or(Probe::Tcp, Probe::Dns),
            },
            port: self.given_count(&check.port, u16::MAX.into()),
            interval,
            timeout,
            rise: self.count(&check.rise, u16::MAX.into(), DEFAULT_RISE),
            fall: self.count(&check.fall, u16::MAX.into(), DEFAULT_FALL),
        })
    }

    fn udp_probe(&mut self, check: &file::HealthCheck, place: Place) -> UdpProbe {
        if check.send.is_absent() && check.send_hex.is_absent() {
            let message = "a health check of type `udp` has no `send`";
            let help = "add what the backend answers: send = \"TEXT\" or send_hex = \"00ff\"";
            self.problems.report(Problem::missing(place, message).help(help));
        }
        UdpProbe {
            send: self.bytes(&check.send, &check.send_hex),
            expect: self.bytes(&check.expect, &check.expect_hex),
        }
    }

    /// Bytes that are written either as text or in hex; none, if they are not written.
    fn bytes(&mut self, text: &Field<String>, hex: &Field<String>) -> Vec<u8> {
        if let (Some(_), Some(hex_given)) = (text.given(), hex.given()) {
            let message = format!("`{}` and `{}` are two ways to say the same", text.key, hex.key);
            self.problems.report(Problem::new(hex_given.place, message).help("leave one of them out"));
        }
        let from_text = text.given().map(|given| (given, given.value.as_bytes().to_vec()));
        let from_hex = hex.given().and_then(|given| Some((given, self.understand(given, parse_hex)?)));
        let Some((given, bytes)) = from_text.or(from_hex) else { return Vec::new() };
        if bytes.len() > LARGEST_PROBE {
            let message = format!("a probe has at most {LARGEST_PROBE} bytes, and this is {}", bytes.len());
            self.problems.report(Problem::new(given.place, message));
        }
        bytes
    }

    /// Nothing, if there is no name to ask for, which is reported.
    fn dns_probe(&mut self, check: &file::HealthCheck, place: Place) -> Option<DnsProbe> {
        if check.query.is_absent() {
            let message = "a health check of type `dns` has no `query`";
            let help = "add a name that every backend can answer: query = \"example.com\"";
            self.problems.report(Problem::missing(place, message).help(help));
        }
        let record = self.choice(&check.record, RECORDS, RecordType(1));
        let rcode = self.given_choice(&check.rcode, RCODES);
        let query = self.parsed(&check.query, |text| {
            let help = "labels of up to 63 ASCII letters, digits, `-` and `_`, with dots between them";
            DnsName::parse(text).ok_or_else(|| (format!("{} is not a domain name", quote(text)), Some(help.to_owned())))
        })?;
        Some(DnsProbe { query, record, rcode })
    }

    fn refuse_keys_of_other_types(&mut self, check: &file::HealthCheck, kind: Kind) {
        if kind != Kind::Udp {
            for field in [&check.send, &check.send_hex, &check.expect, &check.expect_hex] {
                self.refuse_without_type(field, "udp");
            }
        }
        if kind != Kind::Dns {
            for field in [&check.query, &check.record, &check.rcode] {
                self.refuse_without_type(field, "dns");
            }
        }
    }

    fn refuse_without_type(&mut self, field: &Field<String>, kind: &str) {
        if let Some(given) = field.given() {
            let message = format!("`{}` is for a health check of type `{kind}`", field.key);
            self.problems.report(Problem::new(given.place, message).help(format!("set type = \"{kind}\"")));
        }
    }

    /// Reports unix backends that are to be probed over IP.
    fn refuse_unix_probes(&mut self, check: &file::HealthCheck, kind: Kind, pool: &file::Pool) {
        let (why, place) = match (kind, check.port.given(), check.kind.given()) {
            (Kind::Tcp, Some(port), _) => ("`port`", port.place),
            (Kind::Udp | Kind::Dns, _, Some(kind)) => ("`type`", kind.place),
            _ => return,
        };
        for (backend, text) in unix_backends(pool) {
            let message = format!("{} cannot be probed: it has no port", quote(text));
            let help = "probe unix sockets with type = \"tcp\" and without `port`";
            let problem = Problem::new(backend, message).related(place, format!("{why} is for IP addresses"));
            self.problems.report(problem.help(help));
        }
    }

    pub(super) fn passive_check(&mut self, check: &file::PassiveCheck) -> PassiveCheck {
        let eject_for = self.duration(&check.eject_for, LONGEST_ATTEMPT, DEFAULT_EJECT_FOR);
        let default = DEFAULT_EJECT_FOR_AT_MOST.max(eject_for);
        let eject_for_at_most = self.duration(&check.eject_for_at_most, LONGEST_ATTEMPT, default);
        if let Some(given) = check.eject_for_at_most.given()
            && eject_for_at_most < eject_for
        {
            let message = format!("`eject_for_at_most` is shorter than `eject_for`, which is {}", Show(eject_for));
            self.problems.report(Problem::new(given.place, message));
        }
        PassiveCheck {
            unanswered: self.count(&check.unanswered, u32::MAX, DEFAULT_UNANSWERED),
            flows: self.count(&check.flows, u32::MAX, DEFAULT_FLOWS),
            window: self.duration(&check.window, LONGEST_ATTEMPT, DEFAULT_WINDOW),
            eject_for,
            eject_for_at_most,
            max_ejected: self.share(&check.max_ejected, DEFAULT_MAX_EJECTED),
        }
    }

    fn share(&mut self, field: &Field<f64>, default: f64) -> f64 {
        let Some(given) = field.given() else { return default };
        if (0.0..=1.0).contains(&given.value) {
            return given.value;
        }
        let message = format!("`{}` is out of range", field.key);
        let help = format!("`{}` is a share from 0 to 1: 0.5 is half of the pool", field.key);
        self.problems.report(Problem::new(given.place, message).help(help));
        default
    }
}

fn parse_hex(text: &str) -> Result<Vec<u8>, Refusal> {
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
