//! The whole program in one value: workers, control thread and admin server, started together and joined at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::admin::{self, Observed};
use crate::config::{Config, ListenerName, Machine};
use crate::control::bind::BindError;
use crate::control::phase::Phase;
use crate::control::reload::{OnReload, ReloadFrom};
use crate::control::signals::PendingSignals;
use crate::control::{Control, EVENT_QUEUE, Event, Parts};
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
    /// A listener's address is taken or forbidden.
    #[error(transparent)]
    Bind(#[from] BindError),
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
    /// Starts serving `config`; returns once clients of all listeners are served, or the end has begun.
    ///
    /// `signals` are obeyed from now on, if there are any; `on_reload` is called on the control thread with every
    /// configuration that a reload puts in force.
    ///
    /// # Errors
    /// Whatever keeps it from serving; nothing is left running then.
    pub fn start(
        config: Config,
        reload_from: ReloadFrom,
        signals: Option<PendingSignals>,
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
            reload_from,
            on_reload: OnReload(Box::new(on_reload)),
            machine: machine(),
            registry: Arc::clone(&registry),
            snapshot: Arc::clone(&snapshot),
            phase,
            workers: worker::spawn(workers, &registry, &snapshot, capabilities)?,
            capabilities,
            signals: None,
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
                    runtime.block_on(live(config, parts, signals, observed, &report));
                    // A resolver or a file that hangs holds a thread, whose answer is not needed any more.
                    runtime.shutdown_background();
                }
                Err(error) => drop(report.send(Err(error.into()))),
            }
        })?;
        match outcome.recv() {
            Ok(Ok(started)) => Ok(Self { snapshot, registry, phase: watched, events, started, thread }),
            Ok(Err(error)) => {
                // The thread ends after its report.
                let _ = thread.join();
                Err(error)
            }
            Err(_) => {
                // It has panicked; the record of that is in the log once it has ended.
                let _ = thread.join();
                Err(io::Error::other("the control thread ended early").into())
            }
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
        // A full queue is full of these: nobody else in this process has so much to ask.
        let _ = self.events.try_send(Event::ShutDown);
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

/// The control thread's life: start everything, serve to the end, and say meanwhile how the start went.
async fn live(
    config: Config,
    mut parts: Parts,
    signals: Option<PendingSignals>,
    observed: Arc<Observed>,
    report: &Report,
) {
    let mut phase = observed.phase.clone();
    let start = async {
        // An address from the configuration is checked before anything else may happen.
        let admin = bind_admin(&config).await?;
        parts.signals = signals.map(|kept| kept.listen()).transpose()?;
        Ok((admin, Control::start(parts, config)?))
    };
    let (admin, control) = match start.await {
        Ok(started) => started,
        Err(error) => return drop(report.send(Err(error))),
    };
    let started = Started { bound: control.bound(), admin: admin.as_ref().and_then(|it| it.local_addr().ok()) };
    let serving = admin.map(|listener| tokio::spawn(admin::serve(listener, observed)));
    let reporting = async {
        // Its sender lives as long as the control task.
        let _ = phase.wait_for(|phase| *phase > Phase::Starting).await;
        let _ = report.send(Ok(started));
    };
    tokio::join!(control.run(), reporting);
    if let Some(serving) = serving {
        serving.abort();
    }
}

async fn bind_admin(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(addr) = config.admin.http else { return Ok(None) };
    let listener = TcpListener::bind(addr).await.map_err(|source| StartError::Admin { addr, source })?;
    Ok(Some(listener))
}
