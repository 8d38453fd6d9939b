//! The coarse clock that idle times are measured with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on the coarse monotonic clock, in milliseconds. A few milliseconds behind, a few nanoseconds to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(u64);

impl Tick {
    /// Now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let millis = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
        Self(seconds * 1_000 + millis)
    }

    /// The moment that [`Tick::millis`] told.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since an unspecified moment.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if that is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This moment, or the next one that is a multiple of `span`.
    pub fn rounded_up(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        Self(self.0.div_ceil(span).saturating_mul(span))
    }

    /// The moment `span` later.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_and_never_go_below_zero() {
        let now = Tick::now();
        let later = now.after(Duration::from_millis(1_500));
        assert_eq!(later.since(now), Duration::from_millis(1_500));
        assert_eq!(now.since(later), Duration::ZERO);
        assert_eq!(Tick(1_001).rounded_up(Duration::from_millis(500)), Tick(1_500));
        assert_eq!(Tick(1_500).rounded_up(Duration::from_millis(500)), Tick(1_500));
    }
}
