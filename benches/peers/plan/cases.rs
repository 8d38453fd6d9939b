//! What is measured: one line a case.

use Shown::{Full, Headline};

use crate::load::Load;
use crate::load::tcp::Direction::{self, BothWays, Downstream, Upstream};
use crate::load::tcp::{self, SMALL};
use crate::load::tool::{Connections, Tool};
use crate::load::udp::{self, Pieces};

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
    case("connect-exchange-close", Headline, churn(8), "connect, 64 B request and reply, close; 8 at a time"),
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
    case("udp-new", Headline, Load::Udp(udp::Work::NewFlows), "UDP: 10,000 flows of one datagram and its reply"),
    case("udp-dns", Full, Load::Udp(udp::Work::Dns), "UDP: dnsperf with 16 clients, as fast as it goes"),
    case("udp-idle", Full, Load::Udp(udp::Work::Idle), "UDP: resident memory of 10,000 idle flows"),
];

const fn case(name: &'static str, shown: Shown, load: Load, title: &'static str) -> Case {
    Case { name, title, load, shown }
}

const fn exchange(bytes: usize, connections: usize) -> Load {
    Load::Tcp(tcp::Work::Exchange { bytes, connections })
}

const fn among_idle(busy: usize, idle: usize) -> Load {
    Load::Tcp(tcp::Work::ExchangeAmongIdle { bytes: SMALL, busy, idle })
}

const fn open(percent_of_peak: u32) -> Load {
    Load::Tcp(tcp::Work::OpenLoop { percent_of_peak })
}

const fn bulk(direction: Direction, connections: usize) -> Load {
    Load::Tcp(tcp::Work::Bulk { direction, connections })
}

const fn churn(loops: usize) -> Load {
    Load::Tcp(tcp::Work::Churn { bytes: SMALL, loops })
}

const fn mixed(bulk: usize, exchanging: usize, exchanges_per_second: u32) -> Load {
    Load::Tcp(tcp::Work::Mixed { bulk, exchanging, exchanges_per_second })
}

const fn uneven(loops: usize, exchanges: usize) -> Load {
    Load::Tcp(tcp::Work::Uneven { loops, exchanges })
}

const fn pgbench(connections: Connections) -> Load {
    Load::Tool(Tool::PgBench { connections })
}

const fn redis(pipeline: u32) -> Load {
    Load::Tool(Tool::RedisBenchmark { pipeline })
}

const fn ping_pong(flows: usize, at_once: usize) -> Load {
    Load::Udp(udp::Work::PingPong { flows, at_once })
}

const fn train(bytes: usize, pieces: Pieces) -> Load {
    Load::Udp(udp::Work::Trains { bytes, pieces })
}

const fn idle(connections: usize) -> Load {
    Load::Tcp(tcp::Work::Idle { connections })
}
