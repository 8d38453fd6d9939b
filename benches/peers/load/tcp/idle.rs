//! Connections that keep still: what each costs in memory, and what all of them cost in CPU time.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::clients::{Clients, connect, finish};
use super::exchange::Exchange;
use super::tally::Tally;
use super::work::SMALL;
use crate::outcome::{Failure, Sample};
use crate::proxy::Proxy;
use crate::system;

/// Connections being opened at a time.
const OPENERS: usize = 32;

/// Opens `connections`, each with one exchange, and reads the proxy's memory before and after; then watches its CPU
/// time while nothing happens.
pub(super) async fn measure(
    connections: usize,
    proxy: &Proxy,
    tally: &Tally,
    length: Duration,
) -> Result<Sample, Failure> {
    // What a proxy allocates at its first connections, whatever their number, is not theirs.
    close(open(proxy.addr(), OPENERS).await?).await?;
    tally.all_closed().await?;

    let before = proxy.resident_bytes()?;
    let streams = open(proxy.addr(), connections).await?;
    let after = proxy.resident_bytes()?;

    // What the proxy still does about connections that are new is not the cost of keeping them.
    sleep(length / 5).await;
    let meters = proxy.meters()?;
    sleep(length).await;
    let spent = proxy.meters()? - meters;

    close(streams).await?;
    #[expect(clippy::cast_precision_loss, reason = "bytes of a process, far below 2^52")]
    let grown = after as f64 - before as f64;
    #[expect(clippy::cast_precision_loss, reason = "at most tens of thousands")]
    let connections = connections as f64;
    Ok(Sample::new(grown / 1024.0 / connections, spent.cpu_us() / spent.seconds(), spent.disturbance()))
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
    system::check_descriptors(2 * count)?;
    let opening = Rc::new(Opening { addr, wanted: Cell::new(count), streams: RefCell::default() });
    let mut openers = Clients::default();
    openers.add_each(OPENERS, || open_some(Rc::clone(&opening)));
    openers.wind_down().await?;
    Ok(opening.streams.take())
}

async fn open_some(opening: Rc<Opening>) -> io::Result<()> {
    let mut exchange = Exchange::new(SMALL);
    while let Some(wanted) = opening.wanted.get().checked_sub(1) {
        opening.wanted.set(wanted);
        let mut stream = connect(opening.addr, None).await?;
        exchange.once(&mut stream).await?;
        opening.streams.borrow_mut().push(stream);
    }
    Ok(())
}

/// Ends all of them in order.
pub(super) async fn close(streams: Vec<TcpStream>) -> Result<(), Failure> {
    let mut closing = Clients::default();
    for mut stream in streams {
        closing.add(async move { finish(&mut stream).await });
    }
    closing.wind_down().await
}
