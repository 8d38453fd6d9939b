//! Connections that live for one exchange, or for a few.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use super::clients::{connect, finish};
use super::exchange::Exchange;
use super::tally::Tally;
use super::work::SMALL;

/// Client addresses. The side that closes first keeps the port for a minute: with one address, a few rounds of 20,000
/// connections would use up the 28,000 ephemeral ports; over 250 they stay rare, as they are among real clients.
#[derive(Default)]
pub(super) struct Sources(Cell<u8>);

impl Sources {
    fn next(&self) -> SocketAddr {
        let number = (self.0.get() + 1) % 250;
        self.0.set(number);
        SocketAddr::from(([127, 0, 1, number + 1], 0))
    }
}

/// One loop: connects, exchanges once and closes in order, until the load stops. The latency is that of all of it.
pub(super) async fn repeat(addr: SocketAddr, bytes: usize, sources: Rc<Sources>, tally: Rc<Tally>) -> io::Result<()> {
    let mut exchange = Exchange::new(bytes);
    while !tally.is_stopping() {
        let start = Instant::now();
        let mut stream = connect(addr, Some(sources.next())).await?;
        exchange.once(&mut stream).await?;
        finish(&mut stream).await?;
        tally.complete(start.elapsed());
    }
    Ok(())
}

/// One loop: connects, makes some small exchanges and closes in order, until the load stops. The latency is that of each
/// exchange; the first one's begins with the connect.
pub(super) async fn several(
    addr: SocketAddr,
    exchanges: usize,
    sources: Rc<Sources>,
    tally: Rc<Tally>,
) -> io::Result<()> {
    let mut exchange = Exchange::new(SMALL);
    while !tally.is_stopping() {
        let mut start = Instant::now();
        let mut stream = connect(addr, Some(sources.next())).await?;
        for _ in 0..exchanges {
            exchange.once(&mut stream).await?;
            tally.complete(start.elapsed());
            start = Instant::now();
        }
        finish(&mut stream).await?;
    }
    Ok(())
}
