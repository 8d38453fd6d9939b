//! Reloading: read, validate, compare, bind, publish. All or nothing.
//!
//! The file is read and validated by a task; reading may take for ever, see `reading`. What is left
//! computes on the control thread for as long as it takes, some 30 ms for 10,000 backends, and clients do not notice: that
//! thread steps back behind the workers (`sys::machine`), a backend is found by its name and not by looking through all,
//! and what is replaced is never freed by a worker (`retired`). With everything on one CPU and two reloads of 10,000
//! backends a second, the p99 of small exchanges is 1.0 to 1.1 of what it is without reloads; it was 3 to 4 before the
//! thread stepped back (`cargo bench --bench reload`).

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio::sync::mpsc;

use super::Control;
use super::bind::BindError;
use super::file::FileError;
use super::inbox::Event;
use super::phase::Phase;
use super::reading::{FileRead, Readers};
use super::systemd::notify;
use crate::config::diff::Diff;
use crate::config::{Config, Machine};
use crate::pool::registry::ReloadResult;

/// Where a reload finds the configuration.
#[derive(Debug, Clone)]
pub enum ReloadFrom {
    /// From this file.
    File(PathBuf),
    /// From nowhere: it was made in code.
    Nowhere,
}

/// What the program around us does with a configuration that a reload has put in force, such as filtering its logs
/// anew.
pub struct OnReload(pub Box<dyn Fn(&Config) + Send>);

impl std::fmt::Debug for OnReload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnReload")
    }
}

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file gives no configuration.
    #[error(transparent)]
    File(#[from] FileError),
    /// An address is taken or forbidden.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// The reloads of this process: one at a time, and at most one more that is asked for meanwhile.
#[derive(Debug)]
pub(super) struct Reloads {
    reload_from: ReloadFrom,
    on_reload: OnReload,
    /// What limits are checked against.
    machine: Machine,
    events: mpsc::Sender<Event>,
    readers: Readers,
    state: State,
}

/// How far a reload is.
///
/// ```text
/// Idle --asked--> Reading --asked--> Again
///  ^                |  ^               |
///  +------read------+  +-----read------+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none.
    Idle,
    /// The file is being read.
    Reading,
    /// The file is being read, and has been written again since.
    Again,
}

impl Reloads {
    /// None yet. What was read comes in as an event.
    pub(super) fn new(
        reload_from: ReloadFrom,
        on_reload: OnReload,
        machine: Machine,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self { reload_from, on_reload, machine, events, readers: Readers::default(), state: State::Idle }
    }

    /// Starts reading the file, or notes that it is to be read once more; whether that is a new reload.
    fn ask(&mut self) -> bool {
        let ReloadFrom::File(path) = &self.reload_from else {
            tracing::info!("nothing to reload: this configuration is not from a file");
            return false;
        };
        if self.state != State::Idle {
            self.state = State::Again;
            return false;
        }
        self.state = State::Reading;
        let (events, reading) = (self.events.clone(), self.readers.read(path.clone(), self.machine));
        tokio::spawn(async move {
            // Sending fails only when the control task is gone.
            let _ = events.send(Event::Read(Box::new(reading.await))).await;
        });
        true
    }
}

impl Control {
    /// Begins a reload; the log will say what changed, or why nothing did.
    pub(super) fn begin_reload(&mut self) {
        if self.reloads.ask()
            && self.is_ready()
            && let Ok(now) = NotifyState::monotonic_usec_now()
        {
            notify(&[NotifyState::Reloading, now]);
        }
    }

    /// Puts in force what was read.
    pub(super) fn end_reload(&mut self, read: FileRead) {
        let is_asked_again = std::mem::replace(&mut self.reloads.state, State::Idle) == State::Again;
        let result = read.map_err(Error::from).and_then(|(config, machine)| {
            self.reloads.machine = machine;
            self.put_in_force(config).map_err(Error::from)
        });
        match result {
            Ok(changes) => self.report(&changes),
            Err(error) => {
                self.publisher.registry.count_reload(ReloadResult::Refused);
                tracing::error!(%error, "reload refused");
            }
        }
        if is_asked_again {
            self.begin_reload();
        } else if self.is_ready() {
            notify(&[NotifyState::Ready]);
        }
    }

    fn report(&self, changes: &Diff) {
        if !changes.restart_required.is_empty() {
            tracing::warn!(keys = changes.restart_required.join(","), "these keys take effect at the next restart");
        }
        self.publisher.registry.count_reload(ReloadResult::Done);
        let snapshot = self.publisher.in_force();
        (self.reloads.on_reload.0)(&snapshot.config);
        tracing::info!(%changes, generation = snapshot.generation, "reloaded");
    }

    /// Says so if flows may come to want more ports than there are. That is no error: the range is the machine's,
    /// shared with other programs, and can be widened while we run.
    pub(super) fn remark_on_ports(&self) {
        let (flows, ports) = (self.sources.file.flows_at_most(), self.reloads.machine.ephemeral_ports);
        if flows > u64::from(ports) {
            tracing::warn!(flows, ports, "net.ipv4.ip_local_port_range has fewer ports than there may be flows");
        }
    }

    fn is_ready(&self) -> bool {
        *self.phase.borrow() == Phase::Running
    }
}
