//! Simulated clients and backends over UDP.
//!
//! A thread echoes; the client loops on the thread that measures. Both have the load's CPU, and use plain system calls, one
//! a datagram, unless the case is about trains.

mod clients;
mod dnsperf;
mod echo;
mod flows;
mod ping_pong;
mod readiness;
mod trains;
mod window;
mod work;

use std::time::Duration;

use self::echo::Echo;
pub(crate) use self::work::{Pieces, Work};
use crate::outcome::{Failure, Sample};
use crate::peers::{Peer, Transport};
use crate::proxy::Proxy;
use crate::system::{self, Cpus};

/// One measurement.
///
/// # Errors
/// The proxy did not start, or nothing came back.
pub(super) async fn measure(work: Work, peer: &Peer, cpus: Cpus, length: Duration) -> Result<Sample, Failure> {
    system::check_descriptors(work::FLOWS)?;
    let echo = Echo::start(work)?;
    let proxy = Proxy::start(peer, Transport::Udp, &[echo.addr], cpus).await?;
    match work {
        Work::PingPong { flows, at_once } => ping_pong::measure(flows, at_once, &proxy, length),
        Work::Trains { bytes, pieces } => trains::measure(bytes, pieces, &proxy, length),
        Work::NewFlows => flows::measure_new(&proxy),
        Work::Dns => dnsperf::measure(&proxy, length),
        Work::Idle => flows::measure_idle(&proxy, length),
    }
}
