//! Requests that are sent when their time has come, however long the replies to others take.
//!
//! Arrivals are those of many independent users: exponential gaps, drawn from a fixed seed, so every proxy sees the same
//! ones. They go to the connections in turn. A connection carries one request at a time; what is due meanwhile queues, and
//! its latency runs from the time it was scheduled for.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::clients::{Clients, connect, finish};
use super::exchange::Exchange;
use super::tally::Tally;
use super::work::SMALL;

/// Seed of the gaps between arrivals.
const ARRIVALS: u64 = 0x0e5e_4bee;
/// Requests that may queue before one connection: seconds of standstill at any rate that a case has.
const QUEUE: usize = 2_048;

/// A request that is due.
struct Request {
    scheduled: Instant,
    /// Whether it was scheduled within the window.
    counts: bool,
}

/// Who counts the exchanges of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Units {
    /// They are the work that is measured.
    Exchanges,
    /// They go beside the work that is measured.
    None,
}

/// Adds to `clients` those who send `rate` requests a second through `connections` connections, until the load stops.
pub(super) fn add(
    clients: &mut Clients,
    addr: SocketAddr,
    rate: f64,
    connections: usize,
    units: Units,
    tally: &Rc<Tally>,
) {
    let mut queues = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (queue, due) = mpsc::channel(QUEUE);
        queues.push(queue);
        clients.add(answer(addr, due, units, Rc::clone(tally)));
    }
    clients.add(arrive(queues, rate, Rc::clone(tally)));
}

/// Queues each request at its time. Never sleeps, as timers are a thousand times too coarse for that: it gives way to all
/// other tasks and looks at the clock again.
async fn arrive(queues: Vec<mpsc::Sender<Request>>, rate: f64, tally: Rc<Tally>) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(ARRIVALS);
    let mut turns = queues.iter().cycle();
    let mut scheduled = Instant::now();
    while !tally.is_stopping() {
        let now = Instant::now();
        while scheduled <= now {
            let request = Request { scheduled, counts: tally.is_in_window() };
            let queue = turns.next().ok_or_else(|| io::Error::other("a schedule without connections"))?;
            queue.try_send(request).map_err(|_| io::Error::other("replies fall behind the schedule for good"))?;
            scheduled += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
        }
        yield_now().await;
    }
    Ok(())
}

/// Exchanges over one connection what falls due, to the last of it.
async fn answer(addr: SocketAddr, mut due: mpsc::Receiver<Request>, units: Units, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = connect(addr, None).await?;
    let mut exchange = Exchange::new(SMALL);
    let mut free = Instant::now();
    while let Some(Request { scheduled, counts }) = due.recv().await {
        // From when it could have been sent to when it is: what this process adds to the latency.
        let lag = scheduled.max(free).elapsed();
        exchange.once(&mut stream).await?;
        free = Instant::now();
        if counts {
            tally.answered(free - scheduled, lag);
        }
        if units == Units::Exchanges {
            tally.add_units(1);
        }
    }
    finish(&mut stream).await
}
