//! Keeping what happens at intervals from happening all at once.

use std::time::Duration;

/// Stretches or shrinks `interval` by up to a tenth, evenly over all values of `random`, which the caller draws.
///
/// Probes of many backends start together; each at its own pace, they drift apart and load neither us nor a shared
/// backend machine in bursts. The mean stays the interval, so the configured rate is what is seen.
pub(super) fn jittered(interval: Duration, random: u64) -> Duration {
    let spread = interval / 5;
    // The product is at most that of two u64 unless the spread exceeds 584 years.
    let drawn = (spread.as_nanos() * u128::from(random)) >> 64;
    interval - spread / 2 + Duration::from_nanos(u64::try_from(drawn).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_tenth_either_way_around_the_interval() {
        let interval = Duration::from_secs(2);
        let [least, middle, most] = [0, 1 << 63, u64::MAX].map(|random| jittered(interval, random));
        assert_eq!(least, Duration::from_millis(1_800));
        assert_eq!(middle, interval);
        assert!(most < Duration::from_millis(2_200) && most > Duration::from_millis(2_199));
        assert_eq!(jittered(Duration::ZERO, u64::MAX), Duration::ZERO);
    }
}
