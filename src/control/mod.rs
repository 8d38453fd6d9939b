//! The control plane: the one writer of everything that workers read.
//!
//! ```text
//! signals ───────────┐                      ┌─► snapshot, which workers read   (publish)
//! a file was read ───┤   inbox    control   ├─► commands to workers            (workers)
//! a name resolved ───┼─────────►  one task ─┼─► what to watch                  (health)
//! health changed ────┤                      ├─► names to look up               (discovery)
//! asked to stop ─────┘                      └─► bound addresses                (bind, opening)
//! ```
//!
//! One task owns all mutable state. It handles one event after the other, and awaits nothing while it does: whatever has
//! to wait for something outside is a task of its own that reports back. So a signal, a verdict and a reload are handled in
//! milliseconds, whatever else hangs.
//!
//! An event changes what is wanted ([`desired`]) or what is known (the health of backends); either way a new snapshot is
//! built from both and published. `reload` is the path of a file, `shutdown` that of the end.

pub mod bind;
pub mod desired;
pub mod file;
mod inbox;
mod opening;
pub mod phase;
mod publish;
mod reading;
pub mod reload;
mod retired;
mod shutdown;
pub mod signals;
mod systemd;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sd_notify::NotifyState;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep_until};

use self::bind::{BindError, Binder};
use self::desired::Sources;
use self::inbox::Inbox;
pub use self::inbox::{EVENT_QUEUE, Event};
use self::opening::{Opening, UnopenedAddr};
use self::phase::Phase;
use self::publish::Publisher;
use self::reload::{OnReload, ReloadFrom, Reloads};
use self::signals::{Signal, Signals};
use self::systemd::notify;
use self::workers::Workers;
use crate::config::diff::Diff;
use crate::config::{BindAddr, Config, ListenerName, Machine, OnDown, PoolName};
use crate::discovery::resolver::{Answer, Resolver};
use crate::health::{Change, Monitor};
use crate::pool::health::Health;
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;
use crate::sys::udp::Capabilities;
use crate::worker::{Command, Worker};

/// How often what is gone for good is freed.
const FREE_EVERY: Duration = Duration::from_secs(10);

/// How long a new address waits for the names in a pool that has no probes: longer than a resolver takes that answers.
const NAMES_LIMIT: Duration = Duration::from_secs(1);

/// Everything the control task owns.
#[derive(Debug)]
pub struct Control {
    inbox: Inbox,
    /// What is wanted.
    sources: Sources,
    reloads: Reloads,
    /// What is in force.
    publisher: Publisher,
    binder: Binder,
    opening: Opening,
    monitor: Monitor,
    resolver: Resolver,
    workers: Workers,
    phase: watch::Sender<Phase>,
}

/// What the control task is made from.
#[derive(Debug)]
pub struct Parts {
    /// Where reloads read from.
    pub reload_from: ReloadFrom,
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
    /// What the operator says, if he says it by signals.
    pub signals: Option<Signals>,
    /// Both ends of the queue of events.
    pub events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
}

/// What to do after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    ShutDown,
}

impl Control {
    /// Puts the first configuration in force: binds, publishes, has backends watched and names looked up. Clients who have
    /// nothing to wait for are served from here on, the others while [`Control::run`] runs.
    ///
    /// # Errors
    /// An address cannot be bound. The workers stop then.
    pub fn start(parts: Parts, config: Config) -> Result<Self, BindError> {
        let (sender, events) = parts.events;
        let (monitor, changes) = Monitor::start();
        let (resolver, answers) = Resolver::start();
        let (workers, sources) = (Workers::new(parts.workers), Sources::empty(&config));
        let mut control = Self {
            inbox: Inbox { signals: parts.signals, events, changes, answers, rested_at: Instant::now() },
            reloads: Reloads::new(parts.reload_from, parts.on_reload, parts.machine, sender),
            publisher: Publisher::new(parts.registry, parts.snapshot, sources.desired()),
            sources,
            binder: Binder::new(workers.count(), parts.capabilities),
            opening: Opening::default(),
            monitor,
            resolver,
            workers,
            phase: parts.phase,
        };
        control.put_in_force(config)?;
        Ok(control)
    }

    /// The IP addresses that listeners are bound to.
    pub fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        let listeners = self.sources.file.listeners.iter();
        let binds = listeners.flat_map(|(name, listener)| listener.bind.iter().map(move |bind| (name, bind)));
        let real = binds.filter_map(|(name, bind)| match &self.binder.bound(bind)?.addr {
            BindAddr::Tcp(addr) | BindAddr::Udp(addr) => Some((name.clone(), *addr)),
            BindAddr::Unix(_) => None,
        });
        real.collect()
    }

    /// Handles events until the process is to end, then ends it in order.
    pub async fn run(mut self) {
        let mut free = interval(FREE_EVERY);
        loop {
            let deadline = self.opening.deadline();
            tokio::select! {
                event = self.inbox.next() => {
                    if self.handle(event) == Next::ShutDown {
                        return self.shut_down().await;
                    }
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.open_ready(),
                _ = free.tick() => self.free_unused(),
            }
        }
    }

    fn handle(&mut self, event: Event) -> Next {
        match event {
            Event::Signal(Signal::Terminate) | Event::ShutDown => return Next::ShutDown,
            Event::Signal(Signal::Reload) => self.begin_reload(),
            Event::Read(read) => self.end_reload(*read),
            Event::Health(changes) => self.take_health(&changes),
            Event::Resolved(answers) => self.take_answers(&answers),
        }
        Next::GoOn
    }

    /// Puts a configuration in force. Until everything that can fail has succeeded nothing changes.
    fn put_in_force(&mut self, config: Config) -> Result<Diff, BindError> {
        self.binder.forget_retired();
        let rebinding = self.binder.prepare(&config)?;
        let changes = Diff::new(&self.sources.file, &config);
        self.sources.replace_file(config);
        let (added, removed) = self.binder.commit(rebinding);
        self.publish_desired();
        let snapshot = self.publisher.in_force();
        for (bound, sockets) in added {
            let check = snapshot.binds.get(&bound.id).and_then(|view| view.pool().config.health_check.as_ref());
            let until = Instant::now() + check.map_or(NAMES_LIMIT, |check| check.timeout);
            self.opening.add(UnopenedAddr { bound, sockets, until });
        }
        let names = self.publisher.desired().names();
        self.sources.discovered.keep(&names);
        self.resolver.look_up(names);
        for bind in removed {
            self.opening.close(bind);
            self.workers.retire(bind);
        }
        self.workers.tell_all(|| Command::Refresh);
        self.open_ready();
        self.remark_on_ports();
        Ok(changes)
    }

    /// Publishes what is wanted now.
    fn publish_desired(&mut self) {
        let desired = self.sources.desired().reusing(self.publisher.desired());
        self.publisher.publish(desired, &self.binder);
        self.monitor.watch(&self.publisher.in_force().pools);
    }

    /// Takes in what names stand for.
    fn take_answers(&mut self, answers: &[Answer]) {
        let discovered = &mut self.sources.discovered;
        let news = answers.iter().filter(|answer| discovered.learn(&answer.name, &answer.addrs)).count();
        if news > 0 {
            self.publish_desired();
            self.open_ready();
        }
    }

    /// Publishes that the health of backends has changed, then closes the sessions that must not stay.
    fn take_health(&mut self, changes: &[Change]) {
        let began = Instant::now();
        self.publisher.publish_health(changes, &self.binder);
        self.monitor.watch(&self.publisher.in_force().pools);
        let pools = &self.sources.file.pools;
        let closes = |pool: &PoolName| pools.get(pool).is_some_and(|pool| pool.on_down == OnDown::Close);
        let mut is_any_cut = false;
        let is_cut = |change: &&Change| {
            change.to == Health::Down && closes(&change.backend.key.pool) && self.publisher.is_current(change)
        };
        for change in changes.iter().filter(is_cut) {
            change.backend.cut();
            is_any_cut = true;
        }
        if is_any_cut {
            self.workers.tell_all(|| Command::EndCut);
        }
        self.open_ready();
        self.inbox.rest(began.elapsed());
    }

    /// Opens the addresses whose clients need not wait any more.
    fn open_ready(&mut self) {
        let snapshot = self.publisher.in_force();
        for waiting in self.opening.take_ready(Instant::now(), &snapshot, self.publisher.desired()) {
            self.workers.serve(waiting);
        }
        if self.opening.is_empty() && *self.phase.borrow() == Phase::Starting {
            self.phase.send_replace(Phase::Running);
            self.say_running(&snapshot);
            notify(&[NotifyState::Ready]);
        }
    }

    fn say_running(&self, snapshot: &Snapshot) {
        let backends: usize = snapshot.pools.values().map(|pool| pool.backends.len()).sum();
        tracing::info!(
            listeners = snapshot.config.listeners.len(),
            pools = snapshot.pools.len(),
            backends,
            workers = self.workers.count(),
            max_connections = snapshot.config.max_connections,
            "running"
        );
    }

    /// Frees what is gone for good.
    fn free_unused(&mut self) {
        if self.binder.forget_retired() {
            self.publisher.publish_binds(&self.binder);
        }
        self.publisher.free_unused();
    }
}
