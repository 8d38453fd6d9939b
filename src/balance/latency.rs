//! How long a backend takes to answer, as a peak-sensitive moving average.
//!
//! A sample above the average replaces it at once; below it the average follows slowly, by a share that grows with the time
//! since the last one: "peak EWMA", as Finagle and Linkerd have it. Reading never changes anything, it only lets the
//! average fall with time: a backend that is avoided for being slow must be tried again some day. It does not fall while
//! an answer is pending: a backend that has stopped answering gives no samples, and must not seem faster for it.

use std::f32::consts::LOG2_E;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The average is down to 1/e of itself after this long without a sample. A backend that was ten times too slow and got
/// well is back at its share within three to four of these, well below ten seconds.
const DECAY: Duration = Duration::from_millis(2_000);

/// What a reader sees of an average at the least: however long it was not tried, a backend is never free.
const KEPT_AT_LEAST: f32 = 0.01;

/// Never sampled. No average is 0.
const UNKNOWN: u64 = 0;

/// The moving average. Two workers that add a sample at the same moment may lose one of the two.
#[derive(Debug, Default)]
pub struct Latency {
    /// Bits of the average as an `f32` of microseconds, above the low 32 bits of the millisecond of the last sample.
    packed: AtomicU64,
    /// Answers that are waited for, by all workers.
    pending: AtomicU32,
}

impl Latency {
    /// An answer is waited for, until [`Latency::remove_pending`].
    pub(super) fn add_pending(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// It has come, or is no longer waited for.
    pub(super) fn remove_pending(&self) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds a sample.
    pub fn observe(&self, sample: Duration, now_ms: u64) {
        let sample = sample.div_duration_f32(Duration::from_micros(1)).max(f32::MIN_POSITIVE);
        let average = match self.unpack() {
            Some((average, at)) if average > sample => {
                let kept = kept_since(at, now_ms);
                average * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        self.packed.store(u64::from(average.to_bits()) << 32 | u64::from(low_bits(now_ms)), Ordering::Relaxed);
    }

    /// The average in microseconds, as far as it still counts `now`; `None` before the first sample.
    pub fn at(&self, now_ms: u64) -> Option<f32> {
        let (average, at) = self.unpack()?;
        let kept = if self.pending.load(Ordering::Relaxed) == 0 { kept_since(at, now_ms) } else { 1.0 };
        Some(average * kept.max(KEPT_AT_LEAST))
    }

    fn unpack(&self) -> Option<(f32, u32)> {
        let packed = self.packed.load(Ordering::Relaxed);
        let half = |bits: u64| u32::try_from(bits).expect("half of a word");
        (packed != UNKNOWN).then(|| (f32::from_bits(half(packed >> 32)), half(packed & u64::from(u32::MAX))))
    }
}

/// What is left at `now_ms` of an average of millisecond `at`, of 1.
///
/// A worker may have read the clock just before another one added the sample: that is no time at all, and not the 49 days
/// after which the milliseconds wrap around.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since the last sample; a few more do not matter")]
fn kept_since(at: u32, now_ms: u64) -> f32 {
    let elapsed = low_bits(now_ms).wrapping_sub(at).cast_signed().max(0);
    // As a power of two, which is sooner computed than one of e.
    (elapsed as f32 * (-LOG2_E / DECAY.as_millis() as f32)).exp2()
}

fn low_bits(ms: u64) -> u32 {
    u32::try_from(ms & u64::from(u32::MAX)).expect("masked")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn decay_ms() -> u64 {
        DECAY.as_millis().try_into().expect("small")
    }

    fn micros(latency: &Latency, now_ms: u64) -> f32 {
        latency.at(now_ms).expect("it was sampled")
    }

    #[test]
    fn it_rises_at_once_and_falls_by_and_by() {
        let (latency, start) = (Latency::default(), 1_000_000);
        assert_eq!(latency.at(start), None);
        latency.observe(MS, start);
        assert_eq!(micros(&latency, start), 1_000.0);
        latency.observe(10 * MS, start + 1);
        assert_eq!(micros(&latency, start + 1), 10_000.0);
        let later = start + 1 + decay_ms();
        assert!((micros(&latency, later) - 10_000.0 / 1_f32.exp()).abs() < 1.0);
        latency.observe(MS, later);
        let expected = 10_000.0 / 1_f32.exp() + 1_000.0 * (1.0 - 1.0 / 1_f32.exp());
        assert!((micros(&latency, later) - expected).abs() < 1.0);
    }

    #[test]
    fn a_sample_that_another_worker_just_added_counts_in_full() {
        let (latency, now) = (Latency::default(), 1_000_000);
        latency.observe(MS, now);
        assert_eq!(micros(&latency, now - 4), 1_000.0);
        latency.observe(MS / 2, now - 4);
        assert_eq!(micros(&latency, now - 4), 1_000.0);
    }

    #[test]
    fn it_goes_on_where_the_milliseconds_wrap_around() {
        let (latency, wrap) = (Latency::default(), u64::from(u32::MAX) + 1);
        latency.observe(MS, wrap - 1);
        assert!(micros(&latency, wrap) > 990.0);
        assert!(micros(&latency, wrap + 10 * decay_ms()) <= 10.0);
    }

    #[test]
    fn reading_changes_nothing() {
        let (latency, start) = (Latency::default(), 1_000_000);
        latency.observe(MS, start);
        let later = start + decay_ms();
        assert_eq!(micros(&latency, later), micros(&latency, later));
        assert_eq!(micros(&latency, start), 1_000.0);
    }

    #[test]
    fn one_that_got_well_is_known_to_be_within_ten_seconds() {
        let (latency, start) = (Latency::default(), 1_000_000);
        latency.observe(100 * MS, start);
        // A sample a second, as little as an avoided backend gets.
        (1..=10).for_each(|second| latency.observe(10 * MS, start + 1_000 * second));
        assert!(micros(&latency, start + 10_000) < 11_000.0);
    }

    #[test]
    fn an_instant_answer_is_an_answer() {
        let (latency, now) = (Latency::default(), 1_000_000);
        latency.observe(Duration::ZERO, now);
        assert!(latency.at(now).is_some());
    }
}
