//! The health of backends: found out here, owned here, and written only here.
//!
//! ```text
//! control ── pools to watch ──► monitor ── who is due ──► prober ──► probe/*: one file a kind
//!    ▲                          │  ▲  ▲                                │
//!    └──────── changes ─────────┘  │  └──── passed, failed, inconclusive
//!                                  └─ what clients' traffic came to, from the counters of the data plane
//! ```
//!
//! One task, the `monitor`, holds all that is known. It hands each result to the `verdicts` of its pool, which are
//! pure; when these change the health of a backend it publishes that in the backend's state, for workers that are about
//! to use it, and tells whoever listens. What follows (a snapshot, sessions that end) is not its business. A probe does
//! nothing but probe.

mod change;
mod monitor;
mod pace;
mod probe;
mod prober;
mod traffic;
mod verdict;
mod verdicts;
mod watched;

use tokio::sync::{mpsc, watch};

pub use self::change::Change;
use crate::pool::snapshot::Pools;

/// Changes that were not taken yet; the monitor waits when there are more. About as many as a large pool has backends.
const CHANGE_QUEUE: usize = 16_384;

/// Watches the health of backends until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    watched: watch::Sender<Pools>,
}

impl Monitor {
    /// Starts a monitor on the current runtime, which watches no backend yet. Every change of health comes out of the
    /// receiver.
    pub fn start() -> (Self, mpsc::Receiver<Change>) {
        let (watched, pools) = watch::channel(Pools::default());
        let (sender, changes) = mpsc::channel(CHANGE_QUEUE);
        tokio::spawn(monitor::Task::new(pools, sender).run());
        (Self { watched }, changes)
    }

    /// Watches the backends of exactly these pools from now on, as far as a pool has checks.
    ///
    /// A backend that is new, or at another address, begins with the health that its view has; for all others a change
    /// comes if their view is mistaken.
    pub fn watch(&self, pools: &Pools) {
        self.watched.send_replace(pools.clone());
    }
}
