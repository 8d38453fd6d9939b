//! One proxy against another.
//!
//! Every run is seen relative to the reference: its figure over the mean of its two neighbours'. Two contestants of one round
//! were minutes apart, and so were never compared directly: what is compared is how each stood to the reference beside it,
//! in the same round. Over the rounds these quotients have a median, and quartiles that contain the scatter of both.
//! Against the reference itself it is the plain ratio to the neighbours.

use std::collections::BTreeMap;

use super::spread::Spread;

/// How a peer stood to the reference, by round: below 1 it was better.
pub(crate) type Ratios = BTreeMap<u32, f64>;

/// A run over the mean of the reference's runs beside it.
pub(crate) fn ratio(figure: f64, neighbours: [f64; 2]) -> f64 {
    figure / f64::midpoint(neighbours[0], neighbours[1])
}

/// The ratios of `ours` over those of `theirs`, of the rounds that have both. `None` if there is no such round.
pub(crate) fn compare(ours: &Ratios, theirs: &Ratios) -> Option<Spread> {
    Spread::of(ours.iter().filter_map(|(round, ours)| Some(ours / theirs.get(round)?)))
}
