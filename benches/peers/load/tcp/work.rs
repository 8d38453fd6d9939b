//! The kinds of work over TCP: plain descriptions.

use std::time::Duration;

use crate::outcome::Unit;

/// What clients and backends do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Request and reply of equal size, one outstanding on each connection.
    Exchange { bytes: usize, connections: usize },
    /// The same on `busy` connections, while `idle` more made one exchange and keep still.
    ExchangeAmongIdle { bytes: usize, busy: usize, idle: usize },
    /// The requests of [`PEAK`] on a schedule that does not wait for replies, at this share of the rate that the slowest
    /// peer reaches in [`PEAK`] itself.
    OpenLoop { percent_of_peak: u32 },
    /// Connect, one exchange, close in order; over and over in each loop.
    Churn { bytes: usize, loops: usize },
    /// As many bytes as go through.
    Bulk { direction: Direction, connections: usize },
    /// As many bytes downstream as go through, beside scheduled exchanges on connections of their own.
    Mixed { bulk: usize, exchanging: usize, exchanges_per_second: u32 },
    /// Loops that connect to backends of which one takes ten times as long as the others, exchange so often, and close.
    Uneven { loops: usize, exchanges: usize },
    /// Connections that made one exchange and then keep still.
    Idle { connections: usize },
}

/// Which way bulk bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the clients to the backends.
    Upstream,
    /// From the backends to the clients.
    Downstream,
    /// Both at once on every connection.
    BothWays,
}

/// What a backend does with a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Service {
    /// Reads whole requests of this size and sends each back.
    Echo { bytes: usize },
    /// The same, each reply after a pause.
    EchoAfter { bytes: usize, pause: Duration },
    /// Its end of a bulk transfer.
    Bulk(Direction),
    /// Either, as the first byte says: [`BULK_PLEASE`] asks for bytes downstream, anything else begins a request.
    EchoOrBulk { bytes: usize },
}

/// Bytes of a small request, and of its reply.
pub(crate) const SMALL: usize = 64;

/// Connections of an open loop.
pub(super) const OPEN_CONNECTIONS: usize = 64;
/// Says what an open loop's rate is a share of.
pub(crate) const PEAK: Work = Work::Exchange { bytes: SMALL, connections: OPEN_CONNECTIONS };

/// The first byte of a connection to a [`Service::EchoOrBulk`] that wants bulk. No first request begins with it:
/// requests begin with their number, from 1.
pub(super) const BULK_PLEASE: u8 = 0;

/// How long a backend of [`Work::Uneven`] thinks; the slow one ten times as long.
const ANSWER_AFTER: Duration = Duration::from_millis(4);

impl Work {
    /// What the backend with this index does.
    pub(super) fn service(self, backend: usize) -> Service {
        match self {
            Self::Uneven { .. } => {
                Service::EchoAfter { bytes: SMALL, pause: if backend == 0 { 10 * ANSWER_AFTER } else { ANSWER_AFTER } }
            }
            Self::Exchange { bytes, .. } | Self::ExchangeAmongIdle { bytes, .. } | Self::Churn { bytes, .. } => {
                Service::Echo { bytes }
            }
            Self::OpenLoop { .. } | Self::Idle { .. } => Service::Echo { bytes: SMALL },
            Self::Bulk { direction, .. } => Service::Bulk(direction),
            Self::Mixed { .. } => Service::EchoOrBulk { bytes: SMALL },
        }
    }

    /// Backend addresses to spread over. A connection that the proxy ends first leaves its local port waiting for a
    /// minute; several addresses keep 8 closing loops and thousands of idle connections far from running out of ports.
    pub(super) fn backends(self) -> usize {
        match self {
            Self::Exchange { .. } | Self::OpenLoop { .. } | Self::Bulk { .. } | Self::Mixed { .. } => 1,
            Self::Uneven { .. } => 4,
            Self::Churn { .. } | Self::Idle { .. } | Self::ExchangeAmongIdle { .. } => 8,
        }
    }

    /// Units after which a measurement ends early, for the same reason.
    pub(super) fn bound(self) -> u64 {
        match self {
            Self::Churn { .. } => 20_000,
            _ => u64::MAX,
        }
    }

    pub(crate) const fn unit(self) -> Unit {
        match self {
            Self::Exchange { .. } | Self::ExchangeAmongIdle { .. } | Self::OpenLoop { .. } | Self::Uneven { .. } => {
                Unit::per_piece("CPU us/exchange", "exchanges/s")
            }
            Self::Churn { .. } => Unit::per_piece("CPU us/connection", "connections/s"),
            Self::Bulk { .. } => Unit::new("CPU s/GB", 3, "GB/s", 2),
            // Of bulk; the exchanges, equally many for every peer, are contained in the cost.
            Self::Mixed { .. } => Unit::new("CPU s/GB of bulk", 3, "GB/s", 2),
            Self::Idle { .. } => Unit::new("KiB/connection", 2, "CPU us/s", 1),
        }
    }
}
