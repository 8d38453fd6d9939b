//! What one measurement found.

use serde::{Deserialize, Serialize};

use super::latency::Latency;

/// Figures in the units of the load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// What the proxy pays for a unit of work; `None` where there is no proxy that pays.
    pub(crate) cost: Option<f64>,
    pub(crate) rate: f64,
    pub(crate) latency: Option<Latency>,
    /// How much of that, on a schedule, is the load's own: from when a request could have been sent to when it was.
    pub(crate) lag: Option<Latency>,
    /// Share of the proxy's CPU that went to others; much of it makes the sample doubtful.
    pub(crate) disturbance: f64,
    /// Share of the datagrams that did not come back; only where they may be lost.
    pub(crate) lost: Option<f64>,
}

/// A figure that one proxy is compared with another by. Of each, less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Figure {
    Cost,
    P99,
}

impl Sample {
    /// One without latencies and losses.
    pub(crate) fn new(cost: f64, rate: f64, disturbance: f64) -> Self {
        Self { cost: Some(cost), rate, latency: None, lag: None, disturbance, lost: None }
    }

    pub(crate) fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Cost => self.cost,
            Figure::P99 => self.latency.map(|latency| latency.p99_us),
        }
    }
}
