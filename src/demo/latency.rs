//! Percentiles of latencies in a fixed amount of memory.

use std::time::Duration;

/// Steps between one power of two and the next: a percentile is at most an eighth too high.
const STEPS: usize = 8;
const STEPS_LOG2: u32 = STEPS.ilog2();

/// Enough for 2^33 microseconds, more than two hours.
const BUCKETS: usize = STEPS * 31;

/// A distribution of latencies.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: [u64; BUCKETS],
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Latencies {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.counts[bucket(latency)] += 1;
    }

    /// Adds everything counted in `other`.
    pub fn absorb(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The latency that `per_mille` of a thousand do not exceed, or `None` when nothing was counted.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let rank = (self.count() * per_mille).div_ceil(1_000).max(1);
        let mut seen = 0;
        self.counts.iter().enumerate().find_map(|(bucket, count)| {
            seen += count;
            (seen >= rank).then(|| upper_bound(bucket))
        })
    }
}

/// The first [`STEPS`] buckets hold one microsecond each; after them every power of two is cut into [`STEPS`].
fn bucket(latency: Duration) -> usize {
    let micros = usize::try_from(latency.as_micros()).unwrap_or(usize::MAX);
    if micros < STEPS {
        return micros;
    }
    let shift = micros.ilog2() - STEPS_LOG2;
    (shift as usize * STEPS + (micros >> shift)).min(BUCKETS - 1)
}

/// The highest latency that [`bucket`] sends to `bucket`.
fn upper_bound(bucket: usize) -> Duration {
    let micros = if bucket < STEPS {
        bucket as u64
    } else {
        let shift = bucket / STEPS - 1;
        let step = (bucket % STEPS + STEPS) as u64;
        ((step + 1) << shift) - 1
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_is_below_its_bound_by_an_eighth_at_most() {
        for micros in (0..5_000).chain((5_000..4_000_000_000).step_by(9_999_991)) {
            let latency = Duration::from_micros(micros);
            let bound = upper_bound(bucket(latency));
            assert!(bound >= latency, "{micros} us is above {bound:?}");
            assert!(bound <= latency + latency / 8, "{micros} us is far below {bound:?}");
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
