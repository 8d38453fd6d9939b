//! The bounds of durations, sizes and counts, and where they come from.

use std::ops::{RangeInclusive, RangeToInclusive};
use std::time::Duration;

/// The clock of the workers ticks in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// An attempt to connect or a probe. The kernel itself gives a connection up after about two minutes (tcp(7),
/// `tcp_syn_retries` 6); more than an hour is a mistake.
pub(super) const ATTEMPT: RangeInclusive<Duration> = SHORTEST..=HOUR;

/// Silence. More than a year is no limit, and without one the sessions of lost clients are never closed.
pub(super) const SILENCE: RangeInclusive<Duration> = SHORTEST..=YEAR;

/// The end of the process. A day is longer than any session that is worth waiting for; systemd gives up long before.
pub(super) const SHUTDOWN: RangeInclusive<Duration> = SHORTEST..=DAY;

/// Asking for events again and again. One question to the kernel takes about a microsecond; beyond a millisecond a wake-up
/// is no longer what matters, and a CPU is as good as lost.
pub(super) const BUSY_POLL: RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_millis(1);

/// Beyond this the sockets and the counters of each worker cost more than another worker brings.
pub(super) const WORKERS: RangeToInclusive<u32> = ..=1024;

/// A receive buffer. The largest datagram there is has 64 KiB, and must fit; SO_RCVBUF is a signed 32-bit number, of which
/// the kernel books the double.
pub(super) const RECEIVE_BUFFER: RangeInclusive<u32> = 64 << 10..=1 << 30;
