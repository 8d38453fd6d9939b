//! Connections that keep still: what each costs in memory, and what all of them cost in CPU time.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::exchange::{Exchange, finish};
use super::{Clients, spawn, wind_down};
use crate::cases::SMALL;
use crate::failure::Failure;
use crate::measure::Sample;
use crate::proxy::Proxy;
use crate::tally::Tally;
use crate::usage;

/// Connections being opened at a time.
const OPENERS: usize = 32;

/// Opens `connections`, each with one exchange, and reads the proxy's memory before and after; then watches its CPU
/// time while nothing happens.
pub(super) async fn run(connections: usize, proxy: &Proxy, tally: &Tally, length: Duration) -> Result<Sample, Failure> {
    // What a proxy allocates at its first connections, whatever their number, is not theirs.
    close(open(proxy.addr(), OPENERS).await?).await?;
    tally.all_closed().await?;

    let before = proxy.resident_bytes()?;
    let streams = open(proxy.addr(), connections).await?;
    let after = proxy.resident_bytes()?;

    // What the proxy still does about connections that are new is not the cost of keeping them.
    sleep(length / 5).await;
    let meters = proxy.meters()?;
    let start = Instant::now();
    sleep(length).await;
    let elapsed = start.elapsed().as_secs_f64();
    let spent = proxy.meters()? - meters;

    close(streams).await?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of a process, far below 2^52")]
    let grown = after as f64 - before as f64;
    #[expect(clippy::cast_precision_loss, reason = "at most tens of thousands")]
    let connections = connections as f64;
    Ok(Sample {
        cost: grown / 1024.0 / connections,
        rate: spent.proxy.as_secs_f64() * 1e6 / elapsed,
        latency: None,
        lag: None,
        disturbance: spent.others.as_secs_f64() / elapsed,
        lost: None,
    })
}

/// Connections still to be begun, and those that are there.
struct Opening {
    addr: SocketAddr,
    wanted: Cell<usize>,
    streams: RefCell<Vec<TcpStream>>,
}

/// Opens `count` connections that keep still after one exchange.
///
/// # Errors
/// One of them failed, or they do not fit the descriptor limit of this process, which holds both of their ends.
pub(super) async fn open(addr: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Failure> {
    usage::check_descriptors(2 * count)?;
    let opening = Rc::new(Opening { addr, wanted: Cell::new(count), streams: RefCell::default() });
    let mut openers = Clients::new();
    spawn(&mut openers, OPENERS, || open_some(Rc::clone(&opening)));
    wind_down(&mut openers).await?;
    Ok(opening.streams.take())
}

async fn open_some(opening: Rc<Opening>) -> io::Result<()> {
    let mut exchange = Exchange::new(SMALL);
    while let Some(wanted) = opening.wanted.get().checked_sub(1) {
        opening.wanted.set(wanted);
        let mut stream = super::connect(opening.addr, None).await?;
        exchange.once(&mut stream).await?;
        opening.streams.borrow_mut().push(stream);
    }
    Ok(())
}

/// Ends all of them in order.
pub(super) async fn close(streams: Vec<TcpStream>) -> Result<(), Failure> {
    let mut closing = Clients::new();
    for mut stream in streams {
        closing.spawn_local(async move { finish(&mut stream).await });
    }
    wind_down(&mut closing).await
}
