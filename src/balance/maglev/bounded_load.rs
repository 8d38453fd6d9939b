//! How many sessions a member may have, as a multiple of its fair share: "Consistent Hashing with Bounded Loads" (Mirrokni,
//! Thorup, Zadimoghaddam, SODA 2018). Reckoned in integers, so that every machine decides the same.

/// Parts of one in which the multiple is reckoned.
const MILLION: f64 = 1_000_000.0;

/// The configured multiple.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundedLoad {
    /// In millionths.
    factor: u128,
    /// Of the available members.
    total_weight: u128,
}

/// What a member may have at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadLimit {
    bounded_load: BoundedLoad,
    /// Sessions of the available members and the one that is coming.
    sessions: u128,
}

impl BoundedLoad {
    /// At most `factor` times the fair share, among available members with these weights.
    pub(super) fn new(factor: f64, weights: impl Iterator<Item = u16>) -> Self {
        Self {
            // Lowering admits only finite factors of at least 1, and a float-to-integer cast saturates.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            factor: u128::from((factor * MILLION).round() as u64),
            total_weight: weights.map(u128::from).sum(),
        }
    }

    /// The limit while the available members have so many sessions.
    pub(super) fn limit(self, active: u64) -> LoadLimit {
        LoadLimit { bounded_load: self, sessions: u128::from(active) + 1 }
    }
}

impl LoadLimit {
    /// Whether one more session leaves a member within `ceil(factor * sessions * weight / total_weight)`.
    ///
    /// For integers, `active + 1 <= ceil(x / y)` is `active * y < x`, which needs no division.
    pub(super) fn has_room(self, active: u32, weight: u16) -> bool {
        let fair = self.bounded_load.factor * self.sessions * u128::from(weight);
        u128::from(active) * self.bounded_load.total_weight * 1_000_000 < fair
    }
}
