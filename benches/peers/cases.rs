//! What is measured: one line a case.

/// One kind of work that goes through a proxy.
#[derive(Debug)]
pub(crate) struct Case {
    /// As `--case` takes it and the JSON file calls it.
    pub(crate) name: &'static str,
    /// For readers of the table.
    pub(crate) title: &'static str,
    pub(crate) load: Load,
}

/// What clients and backends do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Request and reply of equal size, one outstanding on each connection.
    Exchange { bytes: usize, connections: usize },
    /// Connect, one exchange, close in order; over and over in each loop.
    Churn { bytes: usize, loops: usize },
    /// As many bytes as go through.
    Bulk { direction: Direction, connections: usize },
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
}

/// What a backend does with a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Service {
    /// Reads whole requests of this size and sends each back.
    Echo { bytes: usize },
    /// Reads to the end.
    Sink,
    /// Writes until the load stops.
    Source,
}

/// How the figures of a load are called and scaled.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Unit {
    /// What a proxy pays for one unit of work: the figure that is compared.
    pub(crate) cost: &'static str,
    /// Digits of the cost after the point.
    #[serde(skip)]
    pub(crate) cost_digits: usize,
    /// Units of work a second; of connections that do nothing, the CPU time that they cost all the same.
    pub(crate) rate: &'static str,
    /// Digits of the rate after the point.
    #[serde(skip)]
    pub(crate) rate_digits: usize,
}

/// Bytes of the exchange that an idle connection makes before it keeps still.
pub(crate) const IDLE_EXCHANGE: usize = 64;

/// Every case, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "exchange-64",
        title: "64 B request and reply on 16 connections",
        load: Load::Exchange { bytes: 64, connections: 16 },
    },
    Case {
        name: "exchange-10k",
        title: "10 KiB request and reply on 16 connections",
        load: Load::Exchange { bytes: 10 << 10, connections: 16 },
    },
    Case {
        name: "churn",
        title: "connect, 64 B request and reply, close; 8 at a time",
        load: Load::Churn { bytes: 64, loops: 8 },
    },
    Case {
        name: "bulk-up",
        title: "bulk from client to backend on 4 connections",
        load: Load::Bulk { direction: Direction::Upstream, connections: 4 },
    },
    Case {
        name: "bulk-down",
        title: "bulk from backend to client on 4 connections",
        load: Load::Bulk { direction: Direction::Downstream, connections: 4 },
    },
    Case {
        name: "idle-4000",
        title: "resident memory of 4,000 idle connections",
        load: Load::Idle { connections: 4_000 },
    },
];

impl Load {
    /// What the backends of this load do.
    pub(crate) fn service(self) -> Service {
        match self {
            Self::Exchange { bytes, .. } | Self::Churn { bytes, .. } => Service::Echo { bytes },
            Self::Bulk { direction: Direction::Upstream, .. } => Service::Sink,
            Self::Bulk { direction: Direction::Downstream, .. } => Service::Source,
            Self::Idle { .. } => Service::Echo { bytes: IDLE_EXCHANGE },
        }
    }

    /// Backend addresses to spread over. A connection that the proxy ends first leaves its local port waiting for a
    /// minute; several addresses keep 8 closing loops and thousands of idle connections far from running out of ports.
    pub(crate) fn backends(self) -> usize {
        match self {
            Self::Exchange { .. } | Self::Bulk { .. } => 1,
            Self::Churn { .. } | Self::Idle { .. } => 8,
        }
    }

    /// Units after which a measurement ends early, for the same reason.
    pub(crate) fn bound(self) -> u64 {
        match self {
            Self::Churn { .. } => 20_000,
            _ => u64::MAX,
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Exchange { .. } => Unit::new("CPU us/exchange", 2, "exchanges/s", 0),
            Self::Churn { .. } => Unit::new("CPU us/connection", 2, "connections/s", 0),
            Self::Bulk { .. } => Unit::new("CPU s/GB", 3, "GB/s", 2),
            Self::Idle { .. } => Unit::new("KiB/connection", 2, "CPU ms/s", 2),
        }
    }
}

impl Unit {
    fn new(cost: &'static str, cost_digits: usize, rate: &'static str, rate_digits: usize) -> Self {
        Self { cost, cost_digits, rate, rate_digits }
    }
}
