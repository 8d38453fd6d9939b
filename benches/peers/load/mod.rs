//! What clients and backends do, and one measurement of it from start to end.

pub(crate) mod tcp;
pub(crate) mod tool;
pub(crate) mod udp;

use std::time::Duration;

use self::tool::{Connections, Tool};
use crate::outcome::{Failure, Figure, Sample, Unit};
use crate::peers::{Contest, Need, Peer};
use crate::system::Cpus;

/// The work of one case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Simulated clients and backends over TCP.
    Tcp(tcp::Work),
    /// Simulated clients and backends over UDP.
    Udp(udp::Work),
    /// Real programs.
    Tool(Tool),
}

/// The closed loop whose rate, reached by the slowest peer of a round, is the peak that open loops are a share of. One
/// absolute rate for all peers: latencies at different rates are not comparable, and above its peak a peer has none.
pub(crate) const PEAK: Load = Load::Tcp(tcp::PEAK);

/// One measurement, complete in itself: backends, a proxy, clients, and an orderly end. `peak` is what an open loop takes
/// its share of.
///
/// # Errors
/// The proxy did not start, or the load did not come through whole.
pub(crate) async fn measure(
    load: Load,
    peak: Option<f64>,
    peer: &Peer,
    cpus: Cpus,
    length: Duration,
) -> Result<Sample, Failure> {
    let mut sample = match load {
        Load::Tcp(work) => tcp::measure(work, peak, peer, cpus, length).await,
        Load::Udp(work) => udp::measure(work, peer, cpus, length).await,
        Load::Tool(tool) => tool::measure(tool, peer, cpus, length).await,
    }?;
    if peer.is_limit() {
        // It is nobody's CPU time that is spent.
        sample.cost = None;
    }
    Ok(sample)
}

impl Load {
    /// How its figures are called.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Tcp(work) => work.unit(),
            Self::Udp(work) => work.unit(),
            Self::Tool(tool) => tool.unit(),
        }
    }

    /// The figure that says most: work on a schedule is about how long it takes.
    pub(crate) fn plotted(self) -> Figure {
        match self {
            Self::Tcp(tcp::Work::OpenLoop { .. } | tcp::Work::Mixed { .. } | tcp::Work::Uneven { .. }) => Figure::P99,
            _ => Figure::Cost,
        }
    }

    /// What a proxy must be able to do.
    pub(crate) fn need(self) -> Need {
        match self {
            Self::Tcp(tcp::Work::Bulk { direction: tcp::Direction::BothWays, .. }) => Need::HalfClose,
            Self::Tcp(_) | Self::Tool(_) => Need::Tcp,
            Self::Udp(_) => Need::Udp,
        }
    }

    /// What a case with this load compares. An access log costs something where sessions end.
    pub(crate) fn contests(self) -> &'static [Contest] {
        match self {
            Self::Tcp(tcp::Work::Uneven { .. }) => &[Contest::Policies],
            Self::Tcp(tcp::Work::Churn { .. }) | Self::Tool(Tool::PgBench { connections: Connections::Anew }) => {
                &[Contest::Proxies, Contest::Logged]
            }
            _ => &[Contest::Proxies],
        }
    }

    /// The peer that the others are measured between, unless another one is asked for: one that does not change from one
    /// version of evenkeel to the next.
    pub(crate) fn reference(self) -> &'static str {
        match self {
            Self::Tcp(tcp::Work::Uneven { .. }) => "round-robin",
            _ => "nginx",
        }
    }

    /// Whether doing without a proxy says something: not about what a proxy keeps.
    pub(crate) fn has_limits(self) -> bool {
        !matches!(self, Self::Tcp(tcp::Work::Idle { .. }) | Self::Udp(udp::Work::Idle))
    }

    /// Whether its rate is a share of a peak.
    pub(crate) fn needs_peak(self) -> bool {
        matches!(self, Self::Tcp(tcp::Work::OpenLoop { .. }))
    }
}
