//! How figures are called and how exactly they are told.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Of one load.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// What a proxy pays for one unit of work: the figure that is compared.
    pub(crate) cost: Cow<'static, str>,
    /// Digits of the cost after the point.
    pub(crate) cost_digits: usize,
    /// Units of work a second; of connections that do nothing, the CPU time that they cost all the same.
    pub(crate) rate: Cow<'static, str>,
    /// Digits of the rate after the point.
    pub(crate) rate_digits: usize,
}

impl Unit {
    pub(crate) const fn new(cost: &'static str, cost_digits: usize, rate: &'static str, rate_digits: usize) -> Self {
        Self { cost: Cow::Borrowed(cost), cost_digits, rate: Cow::Borrowed(rate), rate_digits }
    }

    /// What takes CPU time by the piece, tens of thousands of them a second.
    pub(crate) const fn per_piece(cost: &'static str, rate: &'static str) -> Self {
        Self::new(cost, 2, rate, 0)
    }
}
