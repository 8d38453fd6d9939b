//! One case in one round.

use crate::outcome::{Failure, Sample};
use crate::statistics;

/// The runs, in the order in which they were made: see [`statistics::interleave`].
pub(crate) struct Lap {
    pub(crate) case: &'static str,
    pub(crate) round: u32,
    pub(crate) runs: Vec<Run>,
}

/// A sample, or why there is none.
pub(crate) struct Run {
    pub(crate) peer: &'static str,
    pub(crate) result: Result<Sample, Failure>,
}

impl Lap {
    /// The samples of the reference next before and next after the run at `place`. `None` if there is none on either side:
    /// that run failed, or this one is the reference's first or last.
    pub(crate) fn neighbours(&self, place: usize) -> Option<[&Sample; 2]> {
        let sample = |place: usize| self.runs.get(place)?.result.as_ref().ok();
        let [before, after] = statistics::neighbours(place)?;
        Some([sample(before)?, sample(after)?])
    }
}
