//! How much of its time a worker spends on making room.
//!
//! A flow that takes the place of another costs a worker as much as forwarding twenty datagrams. A flood of made-up addresses
//! at the bound would leave it no time for the flows that there are, whose datagrams then find no room in the kernel's queue.
//! To refuse a datagram costs little; so only so many flows a millisecond make room, and the rest of the flood is refused.

use crate::sys::clock::Tick;

/// Flows that are ended in a millisecond: about half of a worker's time, closing and opening a socket for each.
const PER_MS: u64 = 16;

/// As many as a burst of clients may need at once: a queue of the kernel of the usual length.
const MOST: u64 = 512;

/// What is left to be spent.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u64,
    as_of: Tick,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: MOST, as_of: Tick::from_millis(0) }
    }
}

impl Allowance {
    /// Spends one, if there is any left.
    pub(super) fn take(&mut self, now: Tick) -> bool {
        let earned = now.millis().saturating_sub(self.as_of.millis()).saturating_mul(PER_MS);
        self.left = self.left.saturating_add(earned).min(MOST);
        self.as_of = now;
        let has_some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(allowance: &mut Allowance, at_ms: u64) -> u64 {
        (0..).take_while(|_| allowance.take(Tick::from_millis(at_ms))).count() as u64
    }

    #[test]
    fn a_burst_is_allowed_and_then_so_many_a_millisecond() {
        let mut allowance = Allowance::default();
        assert_eq!(taken(&mut allowance, 1), MOST);
        assert_eq!(taken(&mut allowance, 1), 0);
        assert_eq!(taken(&mut allowance, 5), 4 * PER_MS);
        assert_eq!(taken(&mut allowance, 1_000_000), MOST, "rest does not add up to more than a burst");
    }
}
