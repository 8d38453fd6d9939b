//! Percentiles of latencies in a fixed amount of memory.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Two hours, far more than any client of the demo waits. What takes longer counts as this.
const LONGEST_MICROS: u64 = 2 * 3_600 * 1_000_000;

/// A percentile is at most a hundredth too high.
const SIGNIFICANT_DIGITS: u8 = 2;

/// A distribution of latencies, in microseconds.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_MICROS, SIGNIFICANT_DIGITS).expect("the bounds are sound"))
    }
}

impl Latencies {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS));
    }

    /// Adds everything counted in `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `per_mille` of a thousand do not exceed, or `None` when nothing was counted.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let micros = self.0.value_at_quantile(per_mille as f64 / 1_000.0);
        (!self.0.is_empty()).then(|| Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_below_its_bound_by_a_hundredth_at_most() {
        for micros in (0..5_000).chain((5_000..4_000_000_000).step_by(9_999_991)) {
            let latency = Duration::from_micros(micros);
            let mut latencies = Latencies::default();
            latencies.record(latency);
            let bound = latencies.quantile(1_000).expect("one was counted");
            assert!(bound >= latency, "{micros} us is above {bound:?}");
            assert!(bound <= latency + latency / 100, "{micros} us is far below {bound:?}");
        }
    }

    #[test]
    fn quantiles_split_the_distribution() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(500), None);
        for micros in [1, 2, 3, 4] {
            latencies.record(Duration::from_micros(micros));
        }
        assert_eq!(latencies.quantile(500), Some(Duration::from_micros(2)));
        assert_eq!(latencies.quantile(990), Some(Duration::from_micros(4)));
        let mut all = Latencies::default();
        all.absorb(&latencies);
        all.record(Duration::from_secs(100_000));
        assert_eq!(all.count(), 5);
        assert!(all.quantile(1_000) > Some(Duration::from_secs(3_600)));
    }
}
