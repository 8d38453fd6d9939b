//! What is measured: one line a case.

use std::time::Duration;

use crate::datagram::{Datagrams, Pieces};
use crate::peers::Contest;
use crate::tool::{Connections, Tool};
use Direction::{BothWays, Downstream, Upstream};
use Shown::{Full, Headline};

/// One kind of work that goes through a proxy.
#[derive(Debug)]
pub(crate) struct Case {
    /// As `--case` takes it and the JSON file calls it.
    pub(crate) name: &'static str,
    /// For readers of the table.
    pub(crate) title: &'static str,
    pub(crate) load: Load,
    pub(crate) shown: Shown,
}

/// Where the figures of a case are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// In every table: the few cases that say how a proxy compares.
    Headline,
    /// In the full table: how its cost grows.
    Full,
}

/// What clients and backends do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Request and reply of equal size, one outstanding on each connection.
    Exchange { bytes: usize, connections: usize },
    /// The same on `busy` connections, while `idle` more made one exchange and keep still.
    ExchangeAmongIdle { bytes: usize, busy: usize, idle: usize },
    /// The requests of [`PEAK`] on a schedule that does not wait for replies, at this share of what the slowest peer
    /// reaches in [`PEAK`] itself.
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
    /// Over UDP.
    Datagrams(Datagrams),
    /// Of a real program.
    Tool(Tool),
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
pub(crate) enum Service {
    /// Reads whole requests of this size and sends each back.
    Echo { bytes: usize },
    /// The same, each reply after a pause.
    EchoAfter { bytes: usize, pause: Duration },
    /// Its end of a bulk transfer.
    Bulk(Direction),
    /// Either, as the first byte says: [`BULK_PLEASE`] asks for bytes downstream, anything else begins a request.
    EchoOrBulk { bytes: usize },
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

/// The figure of a case that the picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Plotted {
    Cost,
    P99,
}

/// Bytes of a small request, and of its reply.
pub(crate) const SMALL: usize = 64;

/// The closed loop whose rate, reached by the slowest peer of a round, is the peak that open loops are a share of. One
/// absolute rate for all peers: latencies at different rates are not comparable, and above its peak a peer has none.
pub(crate) const PEAK: Load = exchange(SMALL, OPEN_CONNECTIONS);
/// Connections of an open loop.
pub(crate) const OPEN_CONNECTIONS: usize = 64;

/// The first byte of a connection to a [`Service::EchoOrBulk`] that wants bulk. No first request begins with it:
/// requests begin with their number, from 1.
pub(crate) const BULK_PLEASE: u8 = 0;

/// How long a backend of [`Load::Uneven`] thinks; the slow one ten times as long.
const ANSWER_AFTER: Duration = Duration::from_millis(4);

const KIB: usize = 1 << 10;

/// Every case, in the order of the table.
pub(crate) const CASES: &[Case] = &[
    case("exchange-64-c1", Full, exchange(SMALL, 1), "64 B request and reply on 1 connection"),
    case("exchange-64-c16", Headline, exchange(SMALL, 16), "64 B request and reply on 16 connections"),
    case("exchange-64-c100", Full, exchange(SMALL, 100), "64 B request and reply on 100 connections"),
    case("exchange-64-c512", Full, exchange(SMALL, 512), "64 B request and reply on 512 connections"),
    case(
        "busy-100-of-9000",
        Full,
        among_idle(100, 8_900),
        "64 B request and reply on 100 connections among 8,900 idle ones",
    ),
    case("exchange-1k-c1", Full, exchange(KIB, 1), "1 KiB request and reply on 1 connection"),
    case("exchange-1k-c16", Full, exchange(KIB, 16), "1 KiB request and reply on 16 connections"),
    case("exchange-1k-c512", Full, exchange(KIB, 512), "1 KiB request and reply on 512 connections"),
    case("exchange-10k-c1", Full, exchange(10 * KIB, 1), "10 KiB request and reply on 1 connection"),
    case("exchange-10k-c16", Headline, exchange(10 * KIB, 16), "10 KiB request and reply on 16 connections"),
    case("exchange-10k-c512", Full, exchange(10 * KIB, 512), "10 KiB request and reply on 512 connections"),
    case("exchange-64k-c1", Full, exchange(64 * KIB, 1), "64 KiB request and reply on 1 connection"),
    case("exchange-64k-c16", Headline, exchange(64 * KIB, 16), "64 KiB request and reply on 16 connections"),
    case("exchange-64k-c512", Full, exchange(64 * KIB, 512), "64 KiB request and reply on 512 connections"),
    case("open-50", Full, open(50), "64 B on a schedule, 64 connections, 50 % of the slowest peer's peak"),
    case("open-70", Headline, open(70), "64 B on a schedule, 64 connections, 70 % of the slowest peer's peak"),
    case("open-90", Full, open(90), "64 B on a schedule, 64 connections, 90 % of the slowest peer's peak"),
    case("churn", Headline, churn(8), "connect, 64 B request and reply, close; 8 at a time"),
    case("bulk-up-c1", Full, bulk(Upstream, 1), "bulk from client to backend on 1 connection"),
    case("bulk-up-c4", Headline, bulk(Upstream, 4), "bulk from client to backend on 4 connections"),
    case("bulk-up-c64", Full, bulk(Upstream, 64), "bulk from client to backend on 64 connections"),
    case("bulk-down-c1", Full, bulk(Downstream, 1), "bulk from backend to client on 1 connection"),
    case("bulk-down-c4", Headline, bulk(Downstream, 4), "bulk from backend to client on 4 connections"),
    case("bulk-down-c64", Full, bulk(Downstream, 64), "bulk from backend to client on 64 connections"),
    case("bulk-both-c1", Full, bulk(BothWays, 1), "bulk both ways at once on 1 connection"),
    case("bulk-both-c4", Full, bulk(BothWays, 4), "bulk both ways at once on 4 connections"),
    case("bulk-both-c64", Full, bulk(BothWays, 64), "bulk both ways at once on 64 connections"),
    case("mixed", Headline, mixed(4, 16, 2_000), "4 bulk connections down beside 2,000 exchanges/s of 64 B on 16"),
    case(
        "uneven-short",
        Full,
        uneven(32, 1),
        "1 of 4 backends ten times slower; connect, one exchange, close; 32 at a time",
    ),
    case(
        "uneven-long",
        Full,
        uneven(32, 20),
        "1 of 4 backends ten times slower; sessions of 20 exchanges; 32 at a time",
    ),
    case("pgbench", Headline, pgbench(Connections::Kept), "pgbench -S on 16 connections"),
    case(
        "pgbench-c",
        Headline,
        pgbench(Connections::Anew),
        "pgbench -S -C: a connection for each transaction, 16 at a time",
    ),
    case("redis", Headline, redis(1), "redis-benchmark, GET on 16 connections"),
    case("redis-p16", Full, redis(16), "redis-benchmark, GET on 16 connections, 16 at a time on each"),
    case("idle-4000", Full, idle(4_000), "resident memory and CPU time: 4,000 idle connections"),
    case("idle-9000", Headline, idle(9_000), "resident memory and CPU time: 9,000 idle connections"),
    case("udp-16", Headline, ping_pong(16, 16), "UDP: 64 B there and back on 16 flows, all at once"),
    case("udp-10", Full, ping_pong(10, 10), "UDP: 64 B there and back on 10 flows, all at once"),
    case("udp-1000", Full, ping_pong(1_000, 10), "UDP: 64 B there and back on 1,000 flows, 10 at a time"),
    case("udp-10000", Full, ping_pong(10_000, 10), "UDP: 64 B there and back on 10,000 flows, 10 at a time"),
    case(
        "udp-train-200",
        Full,
        train(200, Pieces::Many),
        "UDP: trains of 32 datagrams of 200 B there and back, 4 flows",
    ),
    case(
        "udp-train-1200",
        Headline,
        train(1_200, Pieces::Many),
        "UDP: trains of 32 datagrams of 1,200 B there and back, 4 flows",
    ),
    case(
        "udp-gso-1200",
        Headline,
        train(1_200, Pieces::One),
        "UDP: the same, client and backend with UDP_SEGMENT and UDP_GRO",
    ),
    case("udp-new", Headline, Load::Datagrams(Datagrams::NewFlows), "UDP: 10,000 flows of one datagram and its reply"),
    case("udp-dns", Full, Load::Datagrams(Datagrams::Dns), "UDP: dnsperf with 16 clients, as fast as it goes"),
    case("udp-idle", Full, Load::Datagrams(Datagrams::Idle), "UDP: resident memory of 10,000 idle flows"),
];

const fn case(name: &'static str, shown: Shown, load: Load, title: &'static str) -> Case {
    Case { name, title, load, shown }
}

const fn exchange(bytes: usize, connections: usize) -> Load {
    Load::Exchange { bytes, connections }
}

const fn among_idle(busy: usize, idle: usize) -> Load {
    Load::ExchangeAmongIdle { bytes: SMALL, busy, idle }
}

const fn open(percent_of_peak: u32) -> Load {
    Load::OpenLoop { percent_of_peak }
}

const fn bulk(direction: Direction, connections: usize) -> Load {
    Load::Bulk { direction, connections }
}

const fn churn(loops: usize) -> Load {
    Load::Churn { bytes: SMALL, loops }
}

const fn mixed(bulk: usize, exchanging: usize, exchanges_per_second: u32) -> Load {
    Load::Mixed { bulk, exchanging, exchanges_per_second }
}

const fn uneven(loops: usize, exchanges: usize) -> Load {
    Load::Uneven { loops, exchanges }
}

const fn pgbench(connections: Connections) -> Load {
    Load::Tool(Tool::PgBench { connections })
}

const fn redis(pipeline: u32) -> Load {
    Load::Tool(Tool::RedisBenchmark { pipeline })
}

const fn ping_pong(flows: usize, at_once: usize) -> Load {
    Load::Datagrams(Datagrams::PingPong { flows, at_once })
}

const fn train(bytes: usize, pieces: Pieces) -> Load {
    Load::Datagrams(Datagrams::Trains { bytes, pieces })
}

const fn idle(connections: usize) -> Load {
    Load::Idle { connections }
}

impl Load {
    /// What the backend with this index does.
    pub(crate) fn service(self, backend: usize) -> Service {
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
            // Backends of another kind: see `datagram` and `tool`.
            Self::Datagrams(_) | Self::Tool(_) => Service::Echo { bytes: SMALL },
        }
    }

    /// Work on a schedule is about how long it takes.
    pub(crate) fn plotted(self) -> Plotted {
        match self {
            Self::OpenLoop { .. } | Self::Mixed { .. } | Self::Uneven { .. } => Plotted::P99,
            _ => Plotted::Cost,
        }
    }

    /// What a case with this load compares.
    pub(crate) fn contest(self) -> Contest {
        match self {
            Self::Uneven { .. } => Contest::Policies,
            Self::Datagrams(_) => Contest::Datagrams,
            _ => Contest::Proxies,
        }
    }

    /// Whether doing without a proxy says something: not about what a proxy keeps.
    pub(crate) fn has_limits(self) -> bool {
        !matches!(self, Self::Idle { .. } | Self::Datagrams(Datagrams::Idle))
    }

    /// Backend addresses to spread over. A connection that the proxy ends first leaves its local port waiting for a
    /// minute; several addresses keep 8 closing loops and thousands of idle connections far from running out of ports.
    pub(crate) fn backends(self) -> usize {
        match self {
            Self::Exchange { .. }
            | Self::OpenLoop { .. }
            | Self::Bulk { .. }
            | Self::Mixed { .. }
            | Self::Datagrams(_)
            | Self::Tool(_) => 1,
            Self::Uneven { .. } => 4,
            Self::Churn { .. } | Self::Idle { .. } | Self::ExchangeAmongIdle { .. } => 8,
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
            Self::Exchange { .. } | Self::ExchangeAmongIdle { .. } | Self::OpenLoop { .. } | Self::Uneven { .. } => {
                Unit::new("CPU us/exchange", 2, "exchanges/s", 0)
            }
            Self::Churn { .. } => Unit::new("CPU us/connection", 2, "connections/s", 0),
            Self::Bulk { .. } => Unit::new("CPU s/GB", 3, "GB/s", 2),
            // Of bulk; the exchanges, equally many for every peer, are contained in the cost.
            Self::Mixed { .. } => Unit::new("CPU s/GB of bulk", 3, "GB/s", 2),
            Self::Datagrams(Datagrams::NewFlows) => Unit::new("CPU us/flow", 2, "flows/s", 0),
            Self::Datagrams(Datagrams::Idle) => Unit::new("KiB/flow", 2, "CPU us/s", 1),
            Self::Datagrams(_) => Unit::new("CPU us/datagram", 2, "datagrams/s", 0),
            Self::Tool(Tool::PgBench { .. }) => Unit::new("CPU us/transaction", 2, "transactions/s", 0),
            Self::Tool(Tool::RedisBenchmark { .. }) => Unit::new("CPU us/command", 2, "commands/s", 0),
            Self::Idle { .. } => Unit::new("KiB/connection", 2, "CPU us/s", 1),
        }
    }
}

impl Unit {
    fn new(cost: &'static str, cost_digits: usize, rate: &'static str, rate_digits: usize) -> Self {
        Self { cost, cost_digits, rate, rate_digits }
    }
}
