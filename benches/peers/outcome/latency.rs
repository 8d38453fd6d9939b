//! How long things took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A minute: longer than anything here waits. What takes longer counts as this.
const LONGEST_NS: u64 = 60_000_000_000;
/// A percentile is at most a thousandth too high.
const SIGNIFICANT_DIGITS: u8 = 3;

/// What is measured of each exchange, connection or datagram, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Latencies(Histogram<u64>);

/// Percentiles, in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Not every program that is a load reports it.
    pub(crate) p999_us: Option<f64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS).expect("the bounds are sound"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS));
    }

    /// Percentiles of all of them; `None` without any.
    #[expect(clippy::cast_precision_loss, reason = "at most a minute in nanoseconds, far below 2^52")]
    pub(crate) fn percentiles(&self) -> Option<Latency> {
        let at_us = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e3;
        (!self.0.is_empty()).then(|| Latency { p50_us: at_us(0.5), p99_us: at_us(0.99), p999_us: Some(at_us(0.999)) })
    }
}
