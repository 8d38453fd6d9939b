//! What all tasks of one worker share. It never leaves the worker's thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::board::Board;
use super::pipes::{Loan, Pipes};
use super::sessions::Sessions;
use super::spin::Activity;
use crate::metrics::WorkerId;
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;
use crate::tcp::Admitted;

/// Reads of the copy tier go into one buffer of this size: large enough to take what a socket holds under load in one
/// read, small enough to stay in the second-level cache.
const SCRATCH: usize = 256 << 10;

/// One worker's things.
#[derive(Debug)]
pub struct Local {
    /// Which worker.
    pub id: WorkerId,
    /// Counters and limits of the process.
    pub registry: Arc<Registry>,
    /// How busy all workers are.
    pub board: Arc<Board>,
    /// Where to hand a session over, by worker.
    pub inboxes: Box<[mpsc::Sender<Admitted>]>,
    /// This worker's sessions.
    pub sessions: Sessions,
    /// What it does, for busy polling.
    pub activity: Activity,
    /// Where the copy tier reads into; nothing is kept in it.
    pub scratch: RefCell<Box<[u8]>>,
    /// Pipes for the splice tier.
    pipes: Rc<Pipes>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Local {
    /// A worker's things before its first session.
    pub fn new(
        id: WorkerId,
        registry: Arc<Registry>,
        board: Arc<Board>,
        inboxes: Box<[mpsc::Sender<Admitted>]>,
        snapshot: Arc<ArcSwap<Snapshot>>,
    ) -> Self {
        Self {
            id,
            registry,
            board,
            inboxes,
            sessions: Sessions::default(),
            activity: Activity::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            pipes: Rc::default(),
            snapshot,
        }
    }

    /// Reads the snapshot that is in force now.
    ///
    /// Nothing of it is kept between two decisions, so that what a reload removes can go.
    pub fn with_snapshot<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(&self.snapshot.load())
    }

    /// An empty pipe, unless this worker has its share of what the descriptor limit leaves over, or the kernel refuses.
    pub fn borrow_pipe(&self) -> Option<Loan> {
        let share = || self.with_snapshot(|snapshot| snapshot.config.max_pipes) / self.inboxes.len();
        self.pipes.borrow(share)
    }

    /// Whether there is a pipe to be had now.
    pub fn has_pipe(&self) -> bool {
        self.borrow_pipe().is_some()
    }
}
