//! What the demo prints: pure text, 80 columns.

use std::fmt::Write as _;
use std::time::Duration;

use crate::demo::scene::{self, Turn};
use crate::demo::{datagram, traffic};
use crate::metrics::reason::ConnectErrorReason;
use crate::metrics::stats::BackendStats;
use crate::pool::health::Health;
use crate::pool::view::{BackendView, PoolView};

/// One backend's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its identity.
    pub name: String,
    /// Where it is.
    pub endpoint: String,
    /// What the health checks say.
    pub health: Health,
    /// Sessions now open.
    pub active: u32,
    /// Sessions since the start.
    pub sessions: u64,
    /// Bytes from clients since the start.
    pub bytes_upstream: u64,
    /// Bytes to clients since the start.
    pub bytes_downstream: u64,
    /// Failed attempts to connect since the start.
    pub connect_errors: u64,
}

impl Row {
    /// One row for each backend of `pool`, read now.
    pub fn read(pool: &PoolView) -> Vec<Self> {
        pool.backends.iter().map(Self::of).collect()
    }

    fn of(backend: &BackendView) -> Self {
        let state = &backend.state;
        Self {
            name: state.key.backend.to_string(),
            endpoint: backend.endpoint.as_ref().map(ToString::to_string).unwrap_or_default(),
            health: state.health(),
            active: state.load.active(),
            sessions: state.stats.sum(|stats| stats.sessions.value()),
            bytes_upstream: state.stats.sum(|stats| stats.bytes_upstream.value()),
            bytes_downstream: state.stats.sum(|stats| stats.bytes_downstream.value()),
            connect_errors: state.stats.sum(connect_errors),
        }
    }
}

/// Failed attempts to connect, whatever the reason.
fn connect_errors(stats: &BackendStats) -> u64 {
    ConnectErrorReason::ALL.iter().map(|reason| stats.connect_errors.at(reason.index()).value()).sum()
}

/// What the clients saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Over TCP.
    pub tcp: traffic::Tally,
    /// Over UDP.
    pub udp: datagram::Tally,
}

impl Seen {
    /// Adds everything seen in `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.tcp.absorb(&other.tcp);
        self.udp.absorb(&other.udp);
    }
}

/// Everything one table shows.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Since the start.
    pub elapsed: Duration,
    /// The backends now.
    pub rows: &'a [Row],
    /// The same backends one table ago; empty for the first table.
    pub before: &'a [Row],
    /// What the clients saw since the last table.
    pub latest: &'a Seen,
    /// What the clients saw since the start.
    pub total: &'a Seen,
}

impl Frame<'_> {
    /// The table, each line ended by a newline.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{arguments}");
        };
        line(format_args!("{:>4} s  {}", self.elapsed.as_secs(), forecast(scene::next_turn(self.elapsed))));
        line(format_args!(
            "{:<8} {:<15} {:<8} {:>6} {:>8} {:>3} {:>8} {:>8} {:>8}",
            "backend", "address", "status", "active", "sessions", "/s", "KiB up", "KiB down", "conn err"
        ));
        for row in self.rows {
            let before = self.before.iter().find(|before| before.name == row.name);
            line(format_args!(
                "{:<8} {:<15} {:<8} {:>6} {:>8} {:>3} {:>8} {:>8} {:>8}",
                row.name,
                row.endpoint,
                word(row.health),
                row.active,
                row.sessions,
                row.sessions - before.map_or(0, |before| before.sessions),
                row.bytes_upstream / 1024,
                row.bytes_downstream / 1024,
                row.connect_errors,
            ));
        }
        line(format_args!(
            "clients: {} answers/s, p50 {}, p99 {}, failures {} ({} in all)",
            self.latest.tcp.answers.count(),
            millis(self.latest.tcp.answers.quantile(500)),
            millis(self.latest.tcp.answers.quantile(990)),
            self.latest.tcp.failures(),
            self.total.tcp.failures(),
        ));
        line(format_args!(
            "over UDP: {} answers/s, p50 {}, p99 {}, lost {} ({} in all)",
            self.latest.udp.answers.count(),
            millis(self.latest.udp.answers.quantile(500)),
            millis(self.latest.udp.answers.quantile(990)),
            self.latest.udp.lost,
            self.total.udp.lost,
        ));
        text
    }
}

/// What the clients saw in the whole run, each line ended by a newline.
pub fn summary(elapsed: Duration, rows: &[Row], seen: &Seen) -> String {
    let total = &seen.tcp;
    let sessions: u64 = rows.iter().map(|row| row.sessions).sum();
    let connect_errors: u64 = rows.iter().map(|row| row.connect_errors).sum();
    let mut text = format!(
        "{} s, {} sessions, {} answers (p50 {}, p99 {}), {} failures:\n",
        elapsed.as_secs(),
        sessions,
        total.answers.count(),
        millis(total.answers.quantile(500)),
        millis(total.answers.quantile(990)),
        total.failures(),
    );
    text += &format!("  {:>6} connections cut, with the backend they were on\n", total.cut);
    text += &format!(
        "  {:>6} connections refused, {} answers late, {} wrong\n",
        total.refused, total.timed_out, total.corrupted
    );
    text += &format!("  {connect_errors:>6} failed connects, after which the balancer tried another backend\n");
    let udp = &seen.udp;
    text += &format!("  {:>6} of {} datagrams lost\n", udp.lost, udp.answers.count() + udp.lost);
    if !total.longest_recovery.is_zero() {
        let recovery = millis(Some(total.longest_recovery));
        text += &format!("A client that failed had its next answer after {recovery} at most.\n");
    }
    text
}

/// What is about to happen to the mortal backend.
fn forecast(turn: Turn) -> String {
    match turn {
        Turn::Dies(at) => format!("mortal dies at {} s: its port closes, its connections are reset", at.as_secs()),
        Turn::Returns(at) => format!("mortal is dead; it comes back at {} s", at.as_secs()),
    }
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Checking => "checking",
        Health::Up => "up",
        Health::Down => "DOWN",
    }
}

fn millis(latency: Option<Duration>) -> String {
    let Some(millis) = latency.map(|latency| latency.as_secs_f64() * 1_000.0) else { return "-".into() };
    if millis < 100.0 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, sessions: u64) -> Row {
        Row {
            name: name.into(),
            endpoint: "127.0.0.1:65535".into(),
            health: Health::Checking,
            active: 32,
            sessions,
            bytes_upstream: 99_999_999 * 1024,
            bytes_downstream: 99_999_999 * 1024,
            connect_errors: 99_999_999,
        }
    }

    #[test]
    fn fits_80_columns_and_shows_rates() {
        let rows: Vec<_> = scene::PARTS.iter().map(|part| row(part.name, 12_345_678)).collect();
        let before: Vec<_> = scene::PARTS.iter().map(|part| row(part.name, 12_345_600)).collect();
        let tcp = traffic::Tally { cut: 99_999, longest_recovery: Duration::from_secs(4), ..traffic::Tally::default() };
        let mut total = Seen { tcp, udp: datagram::Tally { lost: 99_999_999, ..datagram::Tally::default() } };
        total.tcp.answers.record(Duration::from_millis(4_999));
        let elapsed = Duration::from_secs(9_999);
        let frame = Frame { elapsed, rows: &rows, before: &before, latest: &total, total: &total };
        let text = frame.render() + &summary(elapsed, &rows, &total);
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        for part in scene::PARTS {
            let line = text.lines().find(|line| line.starts_with(part.name)).expect("a row");
            assert_eq!(line.split_whitespace().nth(5), Some("78"), "{line}");
        }
    }
}
