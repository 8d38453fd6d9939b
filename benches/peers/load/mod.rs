//! The clients of a case. Each kind of load has a file; what they share is the measured window.

pub(crate) mod bulk;
mod churn;
mod exchange;
mod idle;
mod schedule;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cases::{Load, OPEN_CONNECTIONS};
use crate::failure::Failure;
use crate::measure::{Latency, Sample};
use crate::proxy::Proxy;
use crate::tally::Tally;

/// Clients that must come to an end by themselves.
type Clients = JoinSet<io::Result<()>>;

/// Bound on how long clients may take to finish what they began when the load stops.
const WIND_DOWN: Duration = Duration::from_secs(10);

/// Runs the load through `proxy` and brings it to an orderly end. `peak` is what an open loop takes its share of.
///
/// # Errors
/// Any connection that failed, any byte that was lost or changed, anything left open.
pub(crate) async fn run(
    load: Load,
    peak: Option<f64>,
    proxy: &Proxy,
    tally: &Rc<Tally>,
    length: Duration,
) -> Result<Sample, Failure> {
    let addr = proxy.addr();
    let mut clients = Clients::new();
    match load {
        Load::Exchange { bytes, connections } => {
            spawn(&mut clients, connections, || exchange::repeat(addr, bytes, Rc::clone(tally)));
            Ok(window(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Load::ExchangeAmongIdle { bytes, busy, idle } => {
            let still = idle::open(addr, idle).await?;
            spawn(&mut clients, busy, || exchange::repeat(addr, bytes, Rc::clone(tally)));
            let window = window(&mut clients, proxy, tally, length).await?;
            idle::close(still).await?;
            Ok(window.per_operation())
        }
        Load::OpenLoop { percent_of_peak } => {
            let peak = peak.ok_or_else(|| Failure::Load("no peer came through to find the peak".into()))?;
            let rate = peak * f64::from(percent_of_peak) / 100.0;
            schedule::spawn(&mut clients, addr, rate, OPEN_CONNECTIONS, schedule::Units::Exchanges, tally);
            Ok(window(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Load::Churn { bytes, loops } => {
            let sources = Rc::new(churn::Sources::default());
            spawn(&mut clients, loops, || churn::repeat(addr, bytes, Rc::clone(&sources), Rc::clone(tally)));
            Ok(window(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Load::Bulk { direction, connections } => {
            spawn(&mut clients, connections, || bulk::client(addr, direction, Rc::clone(tally)));
            Ok(window(&mut clients, proxy, tally, length).await?.per_gigabyte())
        }
        Load::Mixed { bulk, exchanging, exchanges_per_second } => {
            spawn(&mut clients, bulk, || bulk::asking_client(addr, Rc::clone(tally)));
            let rate = f64::from(exchanges_per_second);
            schedule::spawn(&mut clients, addr, rate, exchanging, schedule::Units::None, tally);
            Ok(window(&mut clients, proxy, tally, length).await?.per_gigabyte())
        }
        Load::Uneven { loops, exchanges } => {
            let sources = Rc::new(churn::Sources::default());
            spawn(&mut clients, loops, || churn::several(addr, exchanges, Rc::clone(&sources), Rc::clone(tally)));
            Ok(window(&mut clients, proxy, tally, length).await?.per_operation())
        }
        Load::Idle { connections } => idle::run(connections, proxy, tally, length).await,
        Load::Datagrams(_) | Load::Tool(_) => Err(Failure::Load("it has a load of its own".into())),
    }
}

fn spawn<F>(clients: &mut Clients, count: usize, client: impl Fn() -> F)
where
    F: Future<Output = io::Result<()>> + 'static,
{
    for _ in 0..count {
        clients.spawn_local(client());
    }
}

/// What happened between the two readings.
struct Window {
    units: u64,
    latencies: Vec<u32>,
    lags: Vec<u32>,
    elapsed: Duration,
    proxy_cpu: Duration,
    /// CPU time that others had on the proxy's CPU.
    disturbance: Duration,
}

impl Window {
    /// Cost in microseconds an exchange or connection.
    fn per_operation(self) -> Sample {
        self.sample(1.0, 1e6)
    }

    /// Cost in seconds a gigabyte; the units are bytes.
    fn per_gigabyte(self) -> Sample {
        self.sample(1e9, 1.0)
    }

    /// `size` units make one of those that are reported, and `scale` of what the cost is counted in make a second.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn sample(self, size: f64, scale: f64) -> Sample {
        let units = self.units as f64 / size;
        Sample {
            cost: self.proxy_cpu.as_secs_f64() * scale / units,
            rate: units / self.elapsed.as_secs_f64(),
            latency: Latency::of(self.latencies),
            lag: Latency::of(self.lags),
            disturbance: self.disturbance.as_secs_f64() / self.elapsed.as_secs_f64(),
            lost: None,
        }
    }
}

/// Lets the clients warm up, reads the meters at both ends of the window, and winds the clients down.
async fn window(clients: &mut Clients, proxy: &Proxy, tally: &Tally, length: Duration) -> Result<Window, Failure> {
    let measured = async {
        sleep(length / 5).await;
        let before = proxy.meters()?;
        let start = Instant::now();
        tally.start_window();
        tokio::select! {
            () = sleep(length) => {}
            () = tally.full() => {}
        }
        let units = tally.end_window();
        let elapsed = start.elapsed();
        let spent = proxy.meters()? - before;
        Ok((units, elapsed, spent))
    };
    let (units, elapsed, spent) = tokio::select! {
        measured = measured => measured,
        // Clients repeat until they are told to stop: one that ends before has failed.
        Some(ended) = clients.join_next() => Err(client_failed(flatten(ended))),
    }?;
    tally.stop();
    wind_down(clients).await?;
    if units == 0 {
        return Err(Failure::Load("nothing came through".into()));
    }
    let (latencies, lags) = (tally.take_latencies(), tally.take_lags());
    Ok(Window { units, latencies, lags, elapsed, proxy_cpu: spent.proxy, disturbance: spent.others })
}

/// Waits for all clients to end.
async fn wind_down(clients: &mut Clients) -> Result<(), Failure> {
    let ended = async {
        while let Some(ended) = clients.join_next().await {
            let ended = flatten(ended);
            if ended.is_err() {
                return Err(client_failed(ended));
            }
        }
        Ok(())
    };
    timeout(WIND_DOWN, ended).await.map_err(|_| Failure::Load(format!("clients stuck for {WIND_DOWN:?}")))?
}

fn flatten(joined: Result<io::Result<()>, tokio::task::JoinError>) -> io::Result<()> {
    joined.map_err(io::Error::other).flatten()
}

fn client_failed(ended: io::Result<()>) -> Failure {
    Failure::Load(match ended {
        Ok(()) => "a client ended before the load did".into(),
        Err(error) => format!("a client saw: {error}"),
    })
}

/// Connects from `source`, or from wherever the kernel likes.
async fn connect(addr: SocketAddr, source: Option<SocketAddr>) -> io::Result<tokio::net::TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(source)?;
    }
    let stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
