//! What all tasks of one worker share. It never leaves the worker's thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::mpsc;

use super::board::Board;
use super::pipes::Pipes;
use super::sessions::Sessions;
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
    pub peers: Box<[mpsc::Sender<Admitted>]>,
    /// This worker's sessions.
    pub sessions: Sessions,
    /// Where the copy tier reads into; nothing is kept in it.
    pub scratch: RefCell<Box<[u8]>>,
    /// Pipes for the splice tier.
    pub pipes: Rc<Pipes>,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
}

impl Local {
    /// A worker's things before its first session.
    pub fn new(
        id: WorkerId,
        registry: Arc<Registry>,
        board: Arc<Board>,
        peers: Box<[mpsc::Sender<Admitted>]>,
        max_pipes: usize,
        snapshot: Arc<ArcSwap<Snapshot>>,
    ) -> Self {
        Self {
            id,
            registry,
            board,
            peers,
            sessions: Sessions::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            pipes: Rc::new(Pipes::new(max_pipes)),
            snapshot: RefCell::new(Cache::new(snapshot)),
        }
    }

    /// Reads the snapshot that is in force now.
    pub fn with_snapshot<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(self.snapshot.borrow_mut().load())
    }
}
