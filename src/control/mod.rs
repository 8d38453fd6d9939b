//! The control plane: the one writer of everything that workers read.
//!
//! One task owns all mutable state. Everything reaches it as an [`Event`]; it answers by building a new snapshot and
//! publishing it. It may be slow or stuck without costing the data plane a byte.

pub mod bind;
pub mod file;
pub mod names;
pub mod phase;
mod publish;
pub mod reload;
mod retired;
pub mod signals;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, timeout_at};

use bind::Binder;
use names::Names;
use phase::Phase;
use signals::Signal;

use retired::Retired;

use crate::config::{BindAddr, Config, ListenerName, Machine, OnDown, PoolName};
use crate::health::{Probes, Verdict};
use crate::metrics::reason::CloseReason;
use crate::pool::backend::BackendState;
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;
use crate::sys::udp::Capabilities;
use crate::worker::{Command, Worker};

/// Events not yet handled; whoever has one more waits.
pub const EVENT_QUEUE: usize = 1_024;

/// How often the counters of what is gone for good are dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// How long sessions that were told to end may take to leave their records.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the control task reacts to.
#[derive(Debug)]
pub enum Event {
    /// The operator sent a signal.
    Signal(Signal),
    /// A backend has gone up or down.
    Probed(Verdict),
    /// The program around us wants an orderly end.
    ShutDown,
}

/// Where a reload finds the configuration.
#[derive(Debug, Clone)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// Nowhere: it was made in code.
    Fixed,
}

/// What the program around us does with a configuration that a reload has put in force, such as filtering its logs
/// anew.
pub struct OnReload(pub Box<dyn Fn(&Config) + Send>);

impl std::fmt::Debug for OnReload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnReload")
    }
}

/// Everything the control task owns.
#[derive(Debug)]
pub struct Control {
    source: Source,
    on_reload: OnReload,
    machine: Machine,
    registry: Arc<Registry>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    phase: watch::Sender<Phase>,
    workers: Vec<Worker>,
    events: mpsc::Receiver<Event>,
    binder: Binder,
    names: Names,
    probes: Probes,
    /// What arrived while the first verdicts were awaited.
    postponed: Vec<Event>,
    /// Pools in which a backend's health has changed since the last snapshot.
    stale: BTreeSet<PoolName>,
    /// Backends whose sessions are to close once a snapshot no longer sends anybody there.
    doomed: Vec<Arc<BackendState>>,
    /// What was published before.
    retired: Retired,
}

/// What the control task is made from.
#[derive(Debug)]
pub struct Parts {
    /// Where reloads read from.
    pub source: Source,
    /// Called after every reload.
    pub on_reload: OnReload,
    /// What limits are checked against.
    pub machine: Machine,
    /// States and counters.
    pub registry: Arc<Registry>,
    /// Where snapshots are published.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where the phase is published.
    pub phase: watch::Sender<Phase>,
    /// All workers.
    pub workers: Vec<Worker>,
    /// What the kernel can do with datagrams.
    pub capabilities: Capabilities,
    /// Both ends of the event queue.
    pub events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

impl Control {
    /// Puts the first configuration in force: resolves, binds, publishes, probes. Afterwards clients are served.
    ///
    /// # Errors
    /// A name that does not resolve or an address that cannot be bound. The workers are stopped then.
    pub async fn open(parts: Parts, config: Config) -> Result<Self, reload::Error> {
        let (sender, events) = parts.events;
        let workers = parts.workers.len();
        let mut control = Self {
            source: parts.source,
            on_reload: parts.on_reload,
            machine: parts.machine,
            registry: parts.registry,
            snapshot: parts.snapshot,
            phase: parts.phase,
            workers: parts.workers,
            events,
            binder: Binder::new(workers, parts.capabilities),
            names: Names::default(),
            probes: Probes::new(sender),
            postponed: Vec::new(),
            stale: BTreeSet::new(),
            doomed: Vec::new(),
            retired: Retired::default(),
        };
        match control.apply(config, Start::First).await {
            Ok(_) => {
                control.phase.send_replace(Phase::Running);
                control.announce();
                notify(&[NotifyState::Ready]);
                Ok(control)
            }
            Err(error) => {
                control.stop_workers();
                Err(error)
            }
        }
    }

    fn announce(&self) {
        let snapshot = self.snapshot.load();
        let backends: usize = snapshot.pools.values().map(|pool| pool.backends.len()).sum();
        tracing::info!(
            listeners = snapshot.config.listeners.len(),
            pools = snapshot.pools.len(),
            backends,
            workers = self.workers.len(),
            max_connections = snapshot.config.max_connections,
            "running"
        );
    }

    /// The IP addresses that listeners are bound to.
    pub fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        let snapshot = self.snapshot.load();
        let binds = snapshot
            .config
            .listeners
            .iter()
            .flat_map(|(name, listener)| listener.bind.iter().map(move |bind| (name, bind)));
        let real = binds.filter_map(|(name, bind)| match &self.binder.bound(bind)?.addr {
            BindAddr::Tcp(addr) | BindAddr::Udp(addr) => Some((name.clone(), *addr)),
            BindAddr::Unix(_) => None,
        });
        real.collect()
    }

    /// Handles events until the process is to end, then ends it in order.
    pub async fn run(mut self) {
        for event in std::mem::take(&mut self.postponed) {
            if self.handle(event).await == Next::ShutDown {
                return self.shut_down().await;
            }
        }
        let mut housekeeping = interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                Some(event) = self.events.recv() => {
                    if self.handle(event).await == Next::ShutDown {
                        break;
                    }
                    self.catch_up();
                }
                _ = housekeeping.tick() => self.keep_house(),
            }
        }
        self.shut_down().await;
    }

    async fn handle(&mut self, event: Event) -> Next {
        match event {
            Event::Signal(Signal::Reload) => self.reload().await,
            Event::Signal(Signal::Terminate) | Event::ShutDown => return Next::ShutDown,
            Event::Probed(verdict) => self.judge(&verdict),
        }
        Next::GoOn
    }

    /// Forgets what is gone for good.
    fn keep_house(&mut self) {
        if self.binder.forget_retired() {
            self.republish();
        }
        self.retired.free_unused();
        self.registry.forget_unused();
    }

    /// Carries out what probes have changed, once for all results that have arrived: a pool takes as long to build for
    /// one of its backends as for a thousand.
    fn catch_up(&mut self) {
        if self.events.is_empty() {
            self.carry_out();
        }
    }

    /// Publishes what probes have changed, then closes the sessions that must not stay.
    fn carry_out(&mut self) {
        if !self.stale.is_empty() {
            self.republish();
        }
        if !self.doomed.is_empty() {
            self.doomed.drain(..).for_each(|backend| backend.cut());
            self.tell_all(|| Command::EndCut);
        }
    }

    /// Takes note of a backend that has gone up or down.
    fn judge(&mut self, verdict: &Verdict) {
        let Some(change) = self.probes.accept(verdict) else { return };
        self.stale.insert(change.state.key.pool.clone());
        if change.on_down == Some(OnDown::Close) {
            self.doomed.push(change.state);
        }
    }

    /// Waits until every probed backend has its first verdict, at most for the longest timeout of a probe.
    async fn settle(&mut self) {
        let snapshot = self.snapshot.load_full();
        let timeouts =
            snapshot.pools.values().filter_map(|pool| pool.config.health_check.as_ref()).map(|check| check.timeout);
        let Some(longest) = timeouts.max() else { return };
        let deadline = Instant::now() + longest;
        while self.probes.are_undecided() {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(Event::Probed(verdict))) => self.judge(&verdict),
                Ok(Some(event)) => self.postponed.push(event),
                Ok(None) | Err(_) => break,
            }
        }
        self.carry_out();
    }

    /// Stops accepting, lets sessions finish until the deadline or a second signal, then ends them.
    async fn shut_down(mut self) {
        let limit = self.snapshot.load().config.shutdown_timeout;
        let (sessions, flows) = (self.registry.sessions.admitted(), self.registry.active_flows());
        tracing::info!(sessions, flows, timeout = ?limit, "shutting down");
        notify(&[NotifyState::Stopping]);
        self.phase.send_replace(Phase::Draining);
        self.tell_all(|| Command::RetireAll);
        self.binder.unlink_all();

        if !self.drained_by(Instant::now() + limit).await {
            let (sessions, flows) = (self.registry.sessions.admitted(), self.registry.active_flows());
            if sessions > 0 || flows > 0 {
                tracing::warn!(sessions, flows, "ending the sessions and flows that are left");
            }
            self.tell_all(|| Command::EndAll(CloseReason::Shutdown));
            self.drained_by(Instant::now() + FAREWELL).await;
        }
        self.stop_workers();
        self.phase.send_replace(Phase::Stopped);
        tracing::info!("stopped");
    }

    /// Waits until neither session nor flow is left; false at the deadline or at another signal to end.
    ///
    /// What counts are the sessions and flows of all workers, whether or not a worker has closed its sockets.
    async fn drained_by(&mut self, deadline: Instant) -> bool {
        const POLL: Duration = Duration::from_millis(20);
        // Retired sockets still serve what the kernel has queued for them.
        let mut quiet_until = Instant::now() + crate::listener::RETIREMENT + POLL;
        loop {
            let now = Instant::now();
            if self.registry.sessions.admitted() > 0 || self.registry.active_flows() > 0 {
                quiet_until = quiet_until.max(now);
            } else if now >= quiet_until {
                return true;
            }
            if now >= deadline {
                return false;
            }
            match timeout_at((now + POLL).min(deadline), self.events.recv()).await {
                Ok(Some(Event::Signal(Signal::Terminate))) => return false,
                Ok(Some(Event::Signal(Signal::Reload))) => tracing::warn!("no reload while shutting down"),
                Ok(Some(Event::Probed(verdict))) => self.judge(&verdict),
                Ok(Some(Event::ShutDown)) | Err(_) => {}
                Ok(None) => tokio::time::sleep(POLL).await,
            }
            self.catch_up();
        }
    }

    fn stop_workers(&mut self) {
        self.tell_all(|| Command::Stop);
        self.workers.drain(..).for_each(Worker::join);
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.tell(command());
        }
    }
}

/// Whether a configuration is the first one of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Clients wait in the kernel's queues until every backend has a verdict: a moment's head start of a backup must
    /// not send the first clients there.
    First,
    /// Clients are being served.
    Later,
}

/// What to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    ShutDown,
}

/// Tells systemd, if it started us.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
