//! Simulated clients and backends over TCP. Each kind of work has a file; what they share is the measured window.

mod backend;
mod bulk;
mod churn;
mod clients;
mod exchange;
mod idle;
mod schedule;
mod tally;
mod window;
mod work;

use std::rc::Rc;
use std::time::Duration;

use self::backend::Backends;
use self::clients::Clients;
use self::tally::Tally;
use self::window::Window;
pub(crate) use self::work::{Direction, PEAK, SMALL, Work};
use crate::outcome::{Failure, Sample};
use crate::peers::{Peer, Transport};
use crate::proxy::Proxy;
use crate::system::Cpus;

/// One measurement. `peak` is what an open loop takes its share of.
///
/// # Errors
/// The proxy did not start; or any connection that failed, any byte that was lost or changed, anything left open.
pub(super) async fn measure(
    work: Work,
    peak: Option<f64>,
    peer: &Peer,
    cpus: Cpus,
    length: Duration,
) -> Result<Sample, Failure> {
    let tally = Rc::new(Tally::new(work.bound()));
    let backends = Backends::start(work, &tally)?;
    let proxy = Proxy::start(peer, Transport::Tcp, &backends.addrs, cpus).await?;
    let sample = run(work, peak, &proxy, &tally, length).await?;
    tally.all_closed().await?;
    tally.balance()?;
    proxy.stop(tally.sessions()).await?;
    Ok(sample)
}

/// Runs the clients through `proxy` and brings them to an orderly end.
async fn run(
    work: Work,
    peak: Option<f64>,
    proxy: &Proxy,
    tally: &Rc<Tally>,
    length: Duration,
) -> Result<Sample, Failure> {
    let addr = proxy.addr();
    let mut clients = Clients::default();
    match work {
        Work::Exchange { bytes, connections } => {
            clients.add_each(connections, || exchange::repeat(addr, bytes, Rc::clone(tally)));
            Ok(Window::measure(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Work::ExchangeAmongIdle { bytes, busy, idle } => {
            let still = idle::open(addr, idle).await?;
            clients.add_each(busy, || exchange::repeat(addr, bytes, Rc::clone(tally)));
            let window = Window::measure(&mut clients, proxy, tally, length).await?;
            idle::close(still).await?;
            Ok(window.per_operation())
        }
        Work::OpenLoop { percent_of_peak } => {
            let peak = peak.ok_or_else(|| Failure::Load("no peer came through to find the peak".into()))?;
            let rate = peak * f64::from(percent_of_peak) / 100.0;
            schedule::add(&mut clients, addr, rate, work::OPEN_CONNECTIONS, schedule::Units::Exchanges, tally);
            Ok(Window::measure(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Work::Churn { bytes, loops } => {
            let sources = Rc::new(churn::Sources::default());
            clients.add_each(loops, || churn::repeat(addr, bytes, Rc::clone(&sources), Rc::clone(tally)));
            Ok(Window::measure(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Work::Bulk { direction, connections } => {
            clients.add_each(connections, || bulk::client(addr, direction, Rc::clone(tally)));
            Ok(Window::measure(&mut clients, proxy, tally, length).await?.per_gigabyte())
        }
        Work::Mixed { bulk, exchanging, exchanges_per_second } => {
            clients.add_each(bulk, || bulk::asking_client(addr, Rc::clone(tally)));
            let rate = f64::from(exchanges_per_second);
            schedule::add(&mut clients, addr, rate, exchanging, schedule::Units::None, tally);
            Ok(Window::measure(&mut clients, proxy, tally, length).await?.per_gigabyte())
        }
        Work::Uneven { loops, exchanges } => {
            let sources = Rc::new(churn::Sources::default());
            clients.add_each(loops, || churn::several(addr, exchanges, Rc::clone(&sources), Rc::clone(tally)));
            Ok(Window::measure(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Work::Idle { connections } => idle::measure(connections, proxy, tally, length).await,
    }
}
