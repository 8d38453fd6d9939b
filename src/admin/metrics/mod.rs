//! The metrics page: what is shown, and its text piece by piece.
//!
//! [`exposition`] goes through the tables of `listeners`, `backends` and `process`, one [`family`] a metric. The names are a
//! contract with dashboards and alerts. No address of a client is ever a label: labels come from the configuration and
//! from the enums of [`reason`](crate::metrics::reason), so the number of series is bounded. Each value of an enum has its
//! series from the start, at zero, so that `rate()` sees the first event.

mod backends;
pub(super) mod exposition;
mod family;
mod listeners;
mod process;
mod series;
mod subjects;
mod usage;
