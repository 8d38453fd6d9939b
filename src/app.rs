//! The whole program in one value: workers, control thread and admin server, started together and joined at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::admin::{self, Observed};
use crate::config::{Config, ListenerName, Machine};
use crate::control::phase::Phase;
use crate::control::{Control, EVENT_QUEUE, Event, OnReload, Parts, Source, reload, signals};
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;
use crate::sys::udp::Capabilities;
use crate::{sys, worker};

/// A running balancer.
#[derive(Debug)]
pub struct App {
    snapshot: Arc<ArcSwap<Snapshot>>,
    registry: Arc<Registry>,
    phase: watch::Receiver<Phase>,
    events: mpsc::Sender<Event>,
    started: Started,
    thread: JoinHandle<()>,
}

/// What only the start knows.
#[derive(Debug)]
struct Started {
    bound: Vec<(ListenerName, SocketAddr)>,
    admin: Option<SocketAddr>,
}

/// Why the program could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread, a runtime or the signal handlers could not be made.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The admin address is taken or forbidden.
    #[error("cannot bind admin.http {addr}: {source}")]
    Admin {
        /// As configured.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A name does not resolve or a listener cannot be bound.
    #[error(transparent)]
    Load(#[from] reload::Error),
}

/// The program ended because something in it broke.
#[derive(Debug, thiserror::Error)]
#[error("the control thread panicked")]
pub struct Crashed;

/// The machine as limits are checked against.
pub fn machine() -> Machine {
    Machine {
        descriptor_limit: sys::machine::descriptor_limit(),
        ephemeral_ports: sys::machine::ephemeral_ports(),
        cpus: sys::machine::cpus(),
    }
}

/// What the kernel can do with datagrams; what it lacks is said once.
fn capabilities() -> Capabilities {
    let capabilities = Capabilities::probe().unwrap_or(Capabilities::NONE);
    for (name, error) in capabilities.missing() {
        tracing::info!(name, %error, "the kernel lacks this; datagrams take more system calls without it");
    }
    capabilities
}

impl App {
    /// Starts serving `config`; returns once clients are accepted and signals are handled.
    ///
    /// `on_reload` is called on the control thread with every configuration that a reload puts in force.
    ///
    /// # Errors
    /// Whatever keeps it from serving; nothing is left running then.
    pub fn start(
        config: Config,
        source: Source,
        on_reload: impl Fn(&Config) + Send + 'static,
    ) -> Result<Self, StartError> {
        sys::machine::raise_descriptor_limit()?;
        sys::machine::widen_descriptor_table();
        let workers = config.workers.get();
        let registry = Arc::new(Registry::new(workers));
        let capabilities = capabilities();
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::empty(&config)));
        let (phase, watched) = watch::channel(Phase::Starting);
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        let parts = Parts {
            source,
            on_reload: OnReload(Box::new(on_reload)),
            machine: machine(),
            registry: Arc::clone(&registry),
            snapshot: Arc::clone(&snapshot),
            phase,
            workers: worker::spawn(workers, &registry, &snapshot, capabilities)?,
            capabilities,
            events: (events.clone(), queue),
        };
        let observed = Arc::new(Observed {
            snapshot: Arc::clone(&snapshot),
            registry: Arc::clone(&registry),
            phase: watched.clone(),
        });
        let (report, outcome) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
            // A reload of thousands of backends computes for tens of milliseconds, and may share a CPU with a worker.
            sys::machine::step_back();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(live(config, parts, observed, &report));
                    // A resolver that hangs holds a thread of the runtime; nobody waits for its answer any more.
                    runtime.shutdown_background();
                }
                Err(error) => drop(report.send(Err(error.into()))),
            }
        })?;
        match outcome.recv() {
            Ok(Ok(started)) => Ok(Self { snapshot, registry, phase: watched, events, started, thread }),
            Ok(Err(error)) => {
                // It has said all it had to say.
                let _ = thread.join();
                Err(error)
            }
            Err(_) => Err(io::Error::other("the control thread ended early").into()),
        }
    }

    /// The IP addresses that listeners are bound to, with the ports that the kernel chose for port 0.
    pub fn bound(&self) -> &[(ListenerName, SocketAddr)] {
        &self.started.bound
    }

    /// The address of the admin HTTP server, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.started.admin
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The states and counters of everything.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The phase, to be waited on.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// Begins an orderly end, as SIGTERM does.
    pub fn shut_down(&self) {
        // A full queue means that the control task is busy; it reads this when it gets there.
        let events = self.events.clone();
        if events.try_send(Event::ShutDown).is_err() {
            std::thread::spawn(move || drop(events.blocking_send(Event::ShutDown)));
        }
    }

    /// Waits until the program has ended.
    ///
    /// # Errors
    /// It did not end in order: the control thread panicked.
    pub fn join(self) -> Result<(), Crashed> {
        self.thread.join().map_err(|_| Crashed)
    }
}

type Report = std::sync::mpsc::SyncSender<Result<Started, StartError>>;

/// The control thread's life: start everything, say how it went, serve to the end.
async fn live(config: Config, parts: Parts, observed: Arc<Observed>, report: &Report) {
    let events = parts.events.0.clone();
    // An address from the configuration is checked before anything else may happen.
    let admin = match bind_admin(&config).await {
        Ok(admin) => admin,
        Err(error) => return drop(report.send(Err(error))),
    };
    let signals = match signals::install(events) {
        Ok(signals) => signals,
        Err(error) => return drop(report.send(Err(error.into()))),
    };
    let control = match Control::open(parts, config).await {
        Ok(control) => control,
        Err(error) => return drop(report.send(Err(error.into()))),
    };
    let started =
        Started { bound: control.bound(), admin: admin.as_ref().and_then(|listener| listener.local_addr().ok()) };
    let _ = report.send(Ok(started));
    let (stop, stopped) = oneshot::channel::<()>();
    if let Some(listener) = admin {
        tokio::spawn(async move {
            tokio::select! {
                () = admin::serve(listener, observed) => {}
                _ = stopped => {}
            }
        });
    }
    control.run().await;
    drop(stop);
    drop(signals);
}

async fn bind_admin(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(addr) = config.admin.http else { return Ok(None) };
    let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Admin { addr, source })?;
    Ok(Some(listener))
}
