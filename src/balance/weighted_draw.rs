//! Drawing one of many by chance, each with a probability by its weight.
//!
//! A draw is a binary search over the running sum of the weights.

use super::split_mix::SplitMix64;

/// Draws that may be rejected before all are looked at one after the other: with half of the weight rejected, one draw in
/// 2^16 gets that far.
const DRAWS: usize = 16;

/// What draws are made from: weights, each known by its index.
#[derive(Debug)]
pub(super) struct WeightedDraw {
    /// For each index, the sum of the weights up to and including its own; ascending.
    cumulative: Vec<u64>,
    /// Whether all weights are the same, so that nothing has to be searched for.
    is_even: bool,
}

impl WeightedDraw {
    /// A draw by these weights, all above 0.
    pub(super) fn new(weights: impl Iterator<Item = u16>) -> Self {
        let mut sum = 0;
        let cumulative = weights.map(|weight| {
            sum += u64::from(weight);
            sum
        });
        let cumulative: Vec<u64> = cumulative.collect();
        let is_even = cumulative.iter().zip(1..).all(|(end, count)| *end == cumulative[0] * count);
        Self { cumulative, is_even }
    }

    /// One index of those that are accepted, by weight; `None` if none is accepted.
    pub(super) fn draw(&self, random: &mut SplitMix64, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let total = *self.cumulative.last()?;
        let draw = |random: &mut SplitMix64| {
            if self.is_even {
                let count = u64::try_from(self.cumulative.len()).unwrap_or(u64::MAX);
                return usize::try_from(random.below(count)).unwrap_or(0);
            }
            let point = random.below(total);
            self.cumulative.partition_point(|end| *end <= point)
        };
        (0..DRAWS).map(|_| draw(random)).find(|index| accepts(*index)).or_else(|| {
            let start = draw(random);
            (start..self.cumulative.len()).chain(0..start).find(|index| accepts(*index))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_by_weight() {
        const DRAWS: u32 = 100_000;
        // Equal weights are drawn in another way than the others.
        for weights in [[1, 2, 7], [7, 2, 1], [3, 3, 3], [3, 3, 4]] {
            let by_weight = WeightedDraw::new(weights.into_iter());
            let total: u16 = weights.iter().sum();
            let mut random = SplitMix64::new(42);
            let mut drawn = [0_u32; 3];
            for _ in 0..DRAWS {
                drawn[by_weight.draw(&mut random, |_| true).expect("there are candidates")] += 1;
            }
            for (count, weight) in drawn.into_iter().zip(weights) {
                let share = f64::from(count) / f64::from(DRAWS);
                let fair = f64::from(weight) / f64::from(total);
                // Ten standard deviations.
                assert!((share - fair).abs() < 10.0 * (fair * (1.0 - fair) / f64::from(DRAWS)).sqrt(), "{drawn:?}");
            }
        }
    }

    #[test]
    fn the_only_one_accepted_is_found_however_light() {
        let by_weight = WeightedDraw::new([65_535, 1, 65_535].into_iter());
        for seed in 0..100 {
            assert_eq!(by_weight.draw(&mut SplitMix64::new(seed), |index| index == 1), Some(1));
            assert_eq!(by_weight.draw(&mut SplitMix64::new(seed), |_| false), None);
        }
    }
}
