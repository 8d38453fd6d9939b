//! The clients of a case. Each kind of load has a file; what they share is the measured window.

pub(crate) mod bulk;
mod churn;
mod exchange;
mod idle;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cases::Load;
use crate::failure::Failure;
use crate::measure::{Latency, Sample};
use crate::proxy::Proxy;
use crate::tally::Tally;

/// Clients that must come to an end by themselves.
type Clients = JoinSet<io::Result<()>>;

/// Bound on how long clients may take to finish what they began when the load stops.
const WIND_DOWN: Duration = Duration::from_secs(10);

/// Runs the load through `proxy` and brings it to an orderly end.
///
/// # Errors
/// Any connection that failed, any byte that was lost or changed, anything left open.
pub(crate) async fn run(load: Load, proxy: &Proxy, tally: &Rc<Tally>, length: Duration) -> Result<Sample, Failure> {
    let addr = proxy.addr();
    match load {
        Load::Exchange { bytes, connections } => {
            let mut clients = spawn(connections, || exchange::repeat(addr, bytes, Rc::clone(tally)));
            let window = window(&mut clients, proxy, tally, length).await?;
            Ok(window.per_operation())
        }
        Load::Churn { bytes, loops } => {
            let sources = Rc::new(churn::Sources::default());
            let mut clients = spawn(loops, || churn::repeat(addr, bytes, Rc::clone(&sources), Rc::clone(tally)));
            let window = window(&mut clients, proxy, tally, length).await?;
            Ok(window.per_operation())
        }
        Load::Bulk { direction, connections } => {
            let mut clients = spawn(connections, || bulk::client(addr, direction, Rc::clone(tally)));
            let window = window(&mut clients, proxy, tally, length).await?;
            Ok(window.per_gigabyte())
        }
        Load::Idle { connections } => idle::run(connections, proxy, tally, length).await,
    }
}

fn spawn<F>(count: usize, client: impl Fn() -> F) -> Clients
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let mut clients = JoinSet::new();
    for _ in 0..count {
        clients.spawn_local(client());
    }
    clients
}

/// What happened between the two readings.
struct Window {
    units: u64,
    latencies: Vec<u32>,
    elapsed: Duration,
    proxy_cpu: Duration,
    /// CPU time that others had on the proxy's CPU.
    disturbance: Duration,
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn per_operation(self) -> Sample {
        let units = self.units as f64;
        Sample {
            cost: self.proxy_cpu.as_secs_f64() * 1e6 / units,
            rate: units / self.elapsed.as_secs_f64(),
            latency: Latency::of(self.latencies),
            disturbance: self.disturbance.as_secs_f64() / self.elapsed.as_secs_f64(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn per_gigabyte(self) -> Sample {
        let gigabytes = self.units as f64 / 1e9;
        Sample {
            cost: self.proxy_cpu.as_secs_f64() / gigabytes,
            rate: gigabytes / self.elapsed.as_secs_f64(),
            latency: None,
            disturbance: self.disturbance.as_secs_f64() / self.elapsed.as_secs_f64(),
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
        let (units, latencies) = (tally.units(), tally.take_latencies());
        let elapsed = start.elapsed();
        let spent = proxy.meters()? - before;
        Ok(Window { units, latencies, elapsed, proxy_cpu: spent.proxy, disturbance: spent.others })
    };
    let window = tokio::select! {
        window = measured => window,
        // Clients repeat until they are told to stop: one that ends before has failed.
        Some(ended) = clients.join_next() => Err(client_failed(flatten(ended))),
    }?;
    tally.stop();
    wind_down(clients).await?;
    if window.units == 0 {
        return Err(Failure::Load("nothing came through".into()));
    }
    Ok(window)
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
