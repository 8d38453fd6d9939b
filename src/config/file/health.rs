//! `[pools.NAME.health_check]` and `[pools.NAME.passive_check]`: how the health of backends is known.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use super::bounds;
use super::keys::Absent::Words;
use super::number::Share;
use super::tables::tables;
use super::text::{ProbeHex, ProbeText};
use super::words::ProbeType;
use crate::config::types::{DnsName, RecordType, ResponseCode};

const RISE: NonZeroU16 = NonZeroU16::new(2).expect("2 is not 0");
const FALL: NonZeroU16 = NonZeroU16::new(3).expect("3 is not 0");
const UNANSWERED: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
const FLOWS: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");

tables! {
    /// Probes of the backends of a pool.
    HealthCheck, "in [pools.NAME.health_check]" {
        /// What a backend must do: accept a connection (`tcp`), answer a datagram (`udp`), answer a question (`dns`, over UDP).
        kind as "type": ProbeType = ProbeType::Tcp,

        /// Where probes go; a TCP probe may thus watch a UDP service.
        port: NonZeroU16 => Words("that of the backend"),

        /// Between two probes of a backend, give or take some jitter.
        interval: Duration [bounds::ATTEMPT] = Duration::from_secs(2),

        /// Bound on one probe; at most `interval`, and so is the default.
        timeout: Duration [bounds::ATTEMPT] = Duration::from_secs(1),

        /// Successes in a row that bring a backend up.
        rise: NonZeroU16 = RISE,

        /// Failures in a row that take it down.
        fall: NonZeroU16 = FALL,

        /// `udp` only, which needs this or `send_hex`: the datagram, up to 1400 bytes.
        send: ProbeText => Words("required for `udp`"),

        /// The same in hex, such as `"00 ff"`.
        send_hex: ProbeHex => Words("`send`"),

        /// `udp` only: what the answer begins with.
        expect: ProbeText => Words("any answer"),

        /// The same in hex.
        expect_hex: ProbeHex => Words("`expect`"),

        /// `dns` only: the name to ask for. Its letters are upper and lower case at random, and an answer must repeat them: a
        /// server that changes them never passes. Only FORMERR, SERVFAIL, NOTIMP and REFUSED may leave the question out.
        query: DnsName => Words("required for `dns`"),

        /// `dns` only: the type of record to ask for.
        record: RecordType = RecordType::A,

        /// `dns` only: the answer that passes.
        rcode: ResponseCode => Words("any but SERVFAIL"),
    }

    /// Judging a backend by what becomes of the datagrams of clients.
    PassiveCheck, "in [pools.NAME.passive_check]" {
        /// Datagrams in a row without a reply that make a flow unanswered; as many as `requests` if that is less.
        unanswered: NonZeroU32 = UNANSWERED,

        /// How many of them are a failure.
        flows: NonZeroU32 = FLOWS,

        /// Within which time.
        window: Duration [bounds::ATTEMPT] = Duration::from_secs(10),

        /// Out for so long the first time, twice that the second, three times the third, and so on.
        eject_for: Duration [bounds::ATTEMPT] = Duration::from_secs(10),

        /// The most that grows to, and never less than `eject_for`; after so long in the pool the count starts anew.
        eject_for_at_most: Duration [bounds::ATTEMPT] = Duration::from_secs(5 * 60),

        /// The share of the pool that may be down for one more to go: of a single backend, none.
        max_ejected: Share = Share(0.5),
    }
}
