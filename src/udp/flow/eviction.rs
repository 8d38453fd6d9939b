//! How much of its time a worker spends on evicting flows: a token bucket.
//!
//! A flow that takes the place of another costs a worker as much as forwarding twenty datagrams. A flood of made-up addresses
//! at the bound would leave it no time for the flows that there are, whose datagrams then find no room in the kernel's queue.
//! To refuse a datagram costs little; so only so many flows a millisecond are evicted, and the rest of the flood is refused.

/// Flows that are evicted in a millisecond: about half of a worker's time, closing and opening a socket for each.
pub(super) const PER_MS: u64 = 16;

/// As many as a burst of clients may need at once: a queue of the kernel of the usual length.
pub(super) const BURST: u64 = 512;

/// How many flows may be evicted now, one token each.
#[derive(Debug)]
pub(super) struct EvictionBudget {
    /// At the moment `as_of_ms`.
    tokens: u64,
    as_of_ms: u64,
}

impl Default for EvictionBudget {
    fn default() -> Self {
        Self { tokens: BURST, as_of_ms: 0 }
    }
}

impl EvictionBudget {
    /// How many there are left.
    pub(super) fn left(&self, now_ms: u64) -> u64 {
        let earned = now_ms.saturating_sub(self.as_of_ms).saturating_mul(PER_MS);
        self.tokens.saturating_add(earned).min(BURST)
    }

    /// Takes one; whether there was one left.
    pub(super) fn take(&mut self, now_ms: u64) -> bool {
        let left = self.left(now_ms);
        *self = Self { tokens: left.saturating_sub(1), as_of_ms: now_ms };
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut EvictionBudget, at_ms: u64) -> u64 {
        (0..).take_while(|_| budget.take(at_ms)).count() as u64
    }

    #[test]
    fn a_burst_is_allowed_and_then_so_many_a_millisecond() {
        let mut budget = EvictionBudget::default();
        assert_eq!((budget.left(1), taken(&mut budget, 1)), (BURST, BURST));
        assert_eq!((budget.left(1), taken(&mut budget, 1)), (0, 0));
        assert_eq!((budget.left(5), taken(&mut budget, 5)), (4 * PER_MS, 4 * PER_MS));
        assert_eq!(taken(&mut budget, 1_000_000), BURST, "rest does not add up to more than a burst");
    }
}
