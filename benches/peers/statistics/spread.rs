//! The middle of a few figures and how far they spread. Minima and means are left out on purpose: on a machine that others
//! share, the one says who was lucky and the other who was not.

use serde::{Deserialize, Serialize};
use statrs::statistics::{Data, OrderStatistics as _};

/// Fewer ratios than these decide nothing: the quartiles of two are the two.
const FEWEST: usize = 3;

/// Median and quartiles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) first_quartile: f64,
    pub(crate) third_quartile: f64,
    /// Of how many figures.
    pub(crate) count: usize,
}

/// What a spread of ratios says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A ratio of 1 is within the quartiles: no difference that these rounds can tell.
    Even,
    /// Below 1, and the quartiles, too.
    Less,
    /// Above 1, and the quartiles, too.
    More,
    /// Too few rounds to tell.
    Open,
}

impl Spread {
    /// Quartiles are interpolated (Hyndman and Fan's eighth definition, which does not depend on the distribution); of five
    /// figures they stand two thirds of the way from the outermost ones to the next. `None` of nothing.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let figures: Vec<f64> = figures.into_iter().collect();
        let count = figures.len();
        let mut data = Data::new(figures);
        (count > 0).then(|| Self {
            median: data.median(),
            first_quartile: data.lower_quartile(),
            third_quartile: data.upper_quartile(),
            count,
        })
    }

    /// Reads the spread as one of ratios.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self { count, .. } if *count < FEWEST => Verdict::Open,
            Self { third_quartile, .. } if *third_quartile < 1.0 => Verdict::Less,
            Self { first_quartile, .. } if *first_quartile > 1.0 => Verdict::More,
            _ => Verdict::Even,
        }
    }
}
