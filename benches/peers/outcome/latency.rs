//! How long things took.

use std::time::Duration;

/// What is measured of each exchange, connection or datagram.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    nanoseconds: Vec<u32>,
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Not every program that is a load reports it.
    pub(crate) p999_us: Option<f64>,
}

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        self.nanoseconds.push(u32::try_from(took.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Exact percentiles of all of them; `None` without any.
    pub(crate) fn percentiles(mut self) -> Option<Latency> {
        self.nanoseconds.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (self.nanoseconds.len() * per_mille / 1000).min(self.nanoseconds.len().checked_sub(1)?);
            Some(f64::from(self.nanoseconds[rank]) / 1e3)
        };
        Some(Latency { p50_us: at(500)?, p99_us: at(990)?, p999_us: at(999) })
    }
}
