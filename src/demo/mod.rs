//! The demo: simulated backends, a balancer and its clients, all in this process.
//!
//! [`scene`] says who plays. [`backend`] is one simulated backend, [`traffic`] the clients, [`datagram`] both over UDP,
//! [`table`] what is printed. The balancer in the middle is the real one, an [`App`] with a configuration built in
//! code; the demo sees of it only what the metrics endpoint sees. Everything is bound to free ports of 127.0.0.1.

pub mod backend;
pub mod datagram;
pub mod latency;
pub mod scene;
pub mod table;
pub mod traffic;

use std::future::{self, Future};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{self, Instant};

use crate::app::{App, Crashed, StartError};
use crate::config::PoolName;
use crate::control::reload::ReloadFrom;
use crate::demo::backend::{Alive, Backend};
use crate::demo::datagram::{Clients, Echo};
use crate::demo::scene::{Fate, PARTS, Part, Turn};
use crate::demo::table::{Frame, Row, Seen};
use crate::demo::traffic::{Plan, Traffic};

/// Between two tables.
const TICK: Duration = Duration::from_secs(1);

/// How often a dead backend that could not listen again tries anew.
const RELISTEN_PAUSE: Duration = Duration::from_millis(100);

/// How tables follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Each table replaces the last one, with ANSI escapes.
    Redraw,
    /// Each table follows the last one.
    Append,
}

/// Why the demo did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No runtime, or no port, for the simulated backends.
    #[error("cannot start the simulated backends: {0}")]
    Backends(#[source] io::Error),
    /// The balancer did not start.
    #[error("cannot start the balancer: {0}")]
    Balancer(#[from] StartError),
    /// The balancer did not end in order.
    #[error("the balancer broke: {0}")]
    Broken(#[from] Crashed),
    /// Standard output is gone or full.
    #[error("cannot print: {0}")]
    Output(#[from] io::Error),
}

/// Runs the demo for `duration`, or without end, until `stop` is set and `interrupted` is ready.
///
/// `stop` is also what ends the clients, so it must be set before the balancer can notice the same signal.
///
/// # Errors
/// See [`DemoError`]; whatever the clients see is printed and is no error.
pub fn run(
    duration: Option<Duration>,
    style: Style,
    out: &mut impl Write,
    runtime: &Runtime,
    stop: &Arc<AtomicBool>,
    interrupted: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    let backends = raise_backends(runtime).map_err(DemoError::Backends)?;
    let app = App::start(scene::config(backends), ReloadFrom::Nowhere, None, |_| {})?;
    let shown = runtime.block_on(show(&app, duration, style, out, stop, interrupted));
    app.shut_down();
    app.join()?;
    shown.map_err(DemoError::Output)
}

/// Starts all simulated backends; when it returns, they listen.
fn raise_backends(runtime: &Runtime) -> io::Result<[SocketAddr; PARTS.len()]> {
    let _context = runtime.enter();
    let started = Instant::now();
    let mut addrs = [scene::free_port(); PARTS.len()];
    for (part, addr) in PARTS.iter().zip(&mut addrs) {
        let backend = Backend::reserve(*addr, part.behaviour())?;
        *addr = backend.addr();
        let alive = backend.listen()?;
        match part.fate {
            Fate::Immortal => drop(runtime.spawn(alive.serve_until(future::pending()))),
            Fate::Mortal => drop(runtime.spawn(live_and_die(backend, alive, started))),
        }
        drop(runtime.spawn(echo_datagrams(*addr, *part, started)));
    }
    Ok(addrs)
}

/// A mortal backend's life, by the schedule of [`scene::next_turn`].
async fn live_and_die(backend: Backend, first_life: Alive, started: Instant) {
    let mut next_life = Some(first_life);
    loop {
        match scene::next_turn(started.elapsed()) {
            Turn::Returns(at) => time::sleep_until(started + at).await,
            Turn::Dies(at) => match next_life.take().map_or_else(|| backend.listen(), Ok) {
                Ok(alive) => alive.serve_until(time::sleep_until(started + at)).await,
                // Out of descriptors, say: the table goes on showing it as down.
                Err(_) => time::sleep(RELISTEN_PAUSE).await,
            },
        }
    }
}

/// A backend's life over UDP, on the port that it has over TCP.
async fn echo_datagrams(addr: SocketAddr, part: Part, started: Instant) {
    loop {
        let dies_at = match (part.fate, scene::next_turn(started.elapsed())) {
            (Fate::Mortal, Turn::Returns(at)) => {
                time::sleep_until(started + at).await;
                continue;
            }
            (Fate::Mortal, Turn::Dies(at)) => Some(started + at),
            (Fate::Immortal, _) => None,
        };
        let death = async {
            match dies_at {
                Some(at) => time::sleep_until(at).await,
                None => future::pending().await,
            }
        };
        match Echo::bind(addr, part.behaviour()).await {
            Ok(echo) => echo.serve_until(death).await,
            // Another program has the port: to its clients this backend is dead over UDP, and they go elsewhere.
            Err(_) => time::sleep(RELISTEN_PAUSE).await,
        }
    }
}

/// Sends traffic through the balancer and prints a table each second until the time is over.
async fn show(
    app: &App,
    duration: Option<Duration>,
    style: Style,
    out: &mut impl Write,
    stop: &Arc<AtomicBool>,
    interrupted: impl Future<Output = ()>,
) -> io::Result<()> {
    let bound = |name: &str| {
        let bound = app.bound().iter().find(|(listener, _)| listener.as_str() == name);
        bound.map(|(_, addr)| *addr).expect("the demo's listeners are bound")
    };
    let (target, udp_target) = (bound(scene::NAME), bound(scene::UDP_NAME));
    introduce(app, target, udp_target, out)?;
    let plan = Plan {
        target,
        clients: scene::CLIENTS,
        exchanges: scene::EXCHANGES,
        message_bytes: scene::MESSAGE_BYTES,
        pause: scene::PAUSE,
    };
    let started = Instant::now();
    let traffic = Traffic::start(plan, stop);
    let senders = Clients::start(udp_target, scene::UDP_CLIENTS, scene::MESSAGE_BYTES, scene::PAUSE, stop);
    let crowd = Crowd { traffic, senders };
    let mut total = Seen::default();
    let drawn = tokio::select! {
        // In this order, so that the table of the last second is drawn before its time is over.
        biased;
        drawn = draw(app, started, &crowd, &mut total, style, out) => drawn,
        () = interrupted => Ok(()),
        () = expired(duration) => Ok(()),
    };
    stop.store(true, Ordering::Relaxed);
    total.absorb(&crowd.finish().await);
    match drawn {
        // The reader, `head` for instance, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(()) => write!(out, "\n{}", table::summary(started.elapsed(), &rows(app), &total)),
    }
}

/// All clients.
#[derive(Debug)]
struct Crowd {
    traffic: Traffic,
    senders: Clients,
}

impl Crowd {
    /// What all saw since the last call.
    fn take(&self) -> Seen {
        Seen { tcp: self.traffic.take(), udp: self.senders.take() }
    }

    /// Waits until the last one has finished, then says what was seen since the last [`Crowd::take`].
    async fn finish(self) -> Seen {
        Seen { tcp: self.traffic.finish().await, udp: self.senders.finish().await }
    }
}

/// Ready after `duration`; never without one.
async fn expired(duration: Option<Duration>) {
    match duration {
        Some(duration) => time::sleep(duration).await,
        None => future::pending().await,
    }
}

/// Says once what is running and where.
fn introduce(app: &App, target: SocketAddr, udp_target: SocketAddr, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} clients -> evenkeel on {target} -> {} simulated backends", scene::CLIENTS, PARTS.len())?;
    writeln!(out, "{} clients over UDP -> {udp_target} -> the same backends", scene::UDP_CLIENTS)?;
    writeln!(out, "least-connections, {} workers, a health check every 500 ms", scene::WORKERS)?;
    if let Some(admin) = app.admin_addr() {
        writeln!(out, "metrics: curl http://{admin}/metrics")?;
    }
    writeln!(out, "stop: ctrl-c\n")?;
    out.flush()
}

/// Prints a table each second; returns only when that fails.
async fn draw(
    app: &App,
    started: Instant,
    crowd: &Crowd,
    total: &mut Seen,
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut ticks = time::interval_at(started + TICK, TICK);
    let mut before = Vec::new();
    let mut erase = String::new();
    loop {
        ticks.tick().await;
        let latest = crowd.take();
        total.absorb(&latest);
        let rows = rows(app);
        let frame = Frame { elapsed: started.elapsed(), rows: &rows, before: &before, latest: &latest, total };
        let text = frame.render();
        write!(out, "{erase}{text}")?;
        out.flush()?;
        erase = match style {
            // Up to the first line of this table, then clear to the end of the screen.
            Style::Redraw => format!("\x1b[{}A\x1b[J", text.lines().count()),
            Style::Append => "\n".into(),
        };
        before = rows;
    }
}

/// The counters of the demo's backends now.
fn rows(app: &App) -> Vec<Row> {
    Row::read(&app.snapshot().pools[&PoolName::from(scene::NAME)])
}
