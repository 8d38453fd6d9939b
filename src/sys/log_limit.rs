//! A rate limit for complaints that a peer can cause as often as it likes.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// At most one line in this time.
const SPACING: Duration = Duration::from_secs(1);

/// Lets one line a second through and counts the others.
#[derive(Debug, Default)]
pub struct LogLimit {
    last: Cell<Option<Instant>>,
    suppressed: Cell<u64>,
}

impl LogLimit {
    /// How many lines were suppressed since the last one, if one may be written now.
    pub fn allow(&self, now: Instant) -> Option<u64> {
        if self.last.get().is_some_and(|last| now.duration_since(last) < SPACING) {
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.last.set(Some(now));
        Some(self.suppressed.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_the_rest_is_counted() {
        let limit = LogLimit::default();
        let start = Instant::now();
        assert_eq!(limit.allow(start), Some(0));
        assert_eq!(limit.allow(start + SPACING / 2), None);
        assert_eq!(limit.allow(start + SPACING / 2), None);
        assert_eq!(limit.allow(start + SPACING), Some(2));
    }
}
