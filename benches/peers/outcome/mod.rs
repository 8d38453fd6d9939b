//! What one measurement comes to: a sample, or why there is none. Plain types that all that measures and reports shares.

mod failure;
mod latency;
mod sample;
mod unit;

pub(crate) use failure::Failure;
pub(crate) use latency::{Latencies, Latency};
pub(crate) use sample::{Figure, Sample};
pub(crate) use unit::Unit;
