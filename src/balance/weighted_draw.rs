//! Weighted chance: who comes up, for a random word given by the caller.
//!
//! A draw is a binary search over the running sum of the weights. Chance is an argument, so a pick can be replayed.

/// Draws that may miss before everyone is looked at in turn: with half of the weight excluded, one in 2^16 gets that far.
const DRAWS: usize = 16;

/// Tickets by weight, for candidates known by their index.
#[derive(Debug)]
pub(super) struct Lottery {
    /// Of each candidate, the weights up to and including its own; ascending.
    ends: Vec<u64>,
    /// Whether all weigh the same, so that nothing has to be searched for.
    is_even: bool,
}

/// An endless row of random words out of one: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Lottery {
    /// A lottery over candidates with these weights, all above 0.
    pub(super) fn new(weights: impl Iterator<Item = u16>) -> Self {
        let mut sum = 0;
        let ends = weights.map(|weight| {
            sum += u64::from(weight);
            sum
        });
        let ends: Vec<u64> = ends.collect();
        let is_even = ends.iter().zip(1..).all(|(end, count)| *end == ends[0] * count);
        Self { ends, is_even }
    }

    /// The index of a candidate that is accepted, each with a chance by its weight; `None` if nobody is.
    pub(super) fn draw(&self, chance: &mut Chance, accepts: impl Fn(usize) -> bool) -> Option<usize> {
        let total = *self.ends.last()?;
        let draw = |chance: &mut Chance| {
            if self.is_even {
                let count = u64::try_from(self.ends.len()).unwrap_or(u64::MAX);
                return usize::try_from(chance.below(count)).unwrap_or(0);
            }
            let ticket = chance.below(total);
            self.ends.partition_point(|end| *end <= ticket)
        };
        (0..DRAWS).map(|_| draw(chance)).find(|index| accepts(*index)).or_else(|| {
            let start = draw(chance);
            (start..self.ends.len()).chain(0..start).find(|index| accepts(*index))
        })
    }
}

impl Chance {
    pub(super) fn new(random: u64) -> Self {
        Self(random)
    }

    /// A number below `bound`, each as likely as any other but for a part in 2^64 of `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        let scaled = u128::from(self.next()) * u128::from(bound);
        u64::try_from(scaled >> 64).expect("a word times a bound is below the bound, in words")
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_by_weight() {
        const DRAWS: u32 = 100_000;
        // The even ones are drawn in another way than the others.
        for weights in [[1, 2, 7], [7, 2, 1], [3, 3, 3], [3, 3, 4]] {
            let lottery = Lottery::new(weights.into_iter());
            let total: u16 = weights.iter().sum();
            let mut chance = Chance::new(42);
            let mut drawn = [0_u32; 3];
            for _ in 0..DRAWS {
                drawn[lottery.draw(&mut chance, |_| true).expect("there are candidates")] += 1;
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
    fn whoever_is_left_is_found_however_light() {
        let lottery = Lottery::new([65_535, 1, 65_535].into_iter());
        for random in 0..100 {
            assert_eq!(lottery.draw(&mut Chance::new(random), |index| index == 1), Some(1));
            assert_eq!(lottery.draw(&mut Chance::new(random), |_| false), None);
        }
    }

    #[test]
    fn the_generator_is_the_published_one() {
        let mut chance = Chance::new(0);
        assert_eq!([chance.next(), chance.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }
}
