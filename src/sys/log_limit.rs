//! A rate limit for complaints that a peer can cause as often as it likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Tick;

/// At most one line in this time.
const SPACING: Duration = Duration::from_secs(1);

/// Lets one line a second of the whole process through and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit {
    /// When the next line may be written, in milliseconds of the coarse clock.
    next: AtomicU64,
    suppressed: AtomicU64,
}

impl LogLimit {
    /// How many lines were suppressed since the last one, if one may be written at `now`.
    pub fn allow(&self, now: Tick) -> Option<u64> {
        let next = self.next.load(Ordering::Relaxed);
        let is_due = now.millis() >= next;
        let following = now.after(SPACING).millis();
        // Of several workers at once only one wins the exchange.
        if is_due && self.next.compare_exchange(next, following, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_rest_is_counted() {
        let limit = LogLimit::default();
        let start = Tick::now();
        assert_eq!(limit.allow(start), Some(0));
        assert_eq!(limit.allow(start.after(SPACING / 2)), None);
        assert_eq!(limit.allow(start.after(SPACING / 2)), None);
        assert_eq!(limit.allow(start.after(SPACING)), Some(2));
    }
}
