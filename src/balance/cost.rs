//! What one more session costs a member: what "least busy" means.

use std::cmp::Ordering;

/// `(active + 1) / weight` as a fraction, compared exactly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    sessions: u64,
    weight: u64,
}

impl Cost {
    /// What one more session would make of `active` ones.
    pub(super) fn of_one_more(active: u32, weight: u16) -> Self {
        Self { sessions: u64::from(active) + 1, weight: u64::from(weight) }
    }
}

impl Ord for Cost {
    /// Sessions are below 2^33 and weights below 2^16, so the products fit.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.sessions * other.weight).cmp(&(other.sessions * self.weight))
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cost {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_compare_exactly_at_the_limits() {
        let cost = |sessions, weight| Cost { sessions, weight };
        let most = u64::from(u32::MAX) + 1;
        assert_eq!(cost(1, 1), cost(65_535, 65_535));
        assert!(cost(most, 65_535) < cost(most, 65_534));
        assert!(cost(most - 1, 65_535) < cost(most, 65_535));
    }
}
