//! How runs are put beside each other, and what a few of them say together. Pure; its tests are a program of their own
//! (`cargo test --test bench_statistics`), because a benchmark runs none.

mod comparison;
mod interleaving;
mod spread;

pub(crate) use comparison::{Ratios, compare, ratio};
pub(crate) use interleaving::{interleave, neighbours};
pub(crate) use spread::{Spread, Verdict};
