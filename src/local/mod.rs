//! What all tasks of one worker share. It never leaves the worker's thread.
//!
//! Below the loops that use it, and above the state that all workers share: a task of TCP or UDP reaches its worker
//! through here, and knows nothing of the thread that runs it.

pub mod activity;
pub mod admitted;
pub mod pipes;
pub mod placement;
pub mod sessions;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::yield_now;

use self::activity::Activity;
use self::admitted::Admitted;
use self::pipes::{Pipes, PooledPipe};
use self::placement::Placement;
use self::sessions::Sessions;
use crate::metrics::WorkerId;
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;
use crate::sys::udp::Capabilities;

/// Reads of the copy tier go into one buffer of this size: large enough to take what a socket holds under load in one
/// read, small enough to stay in the second-level cache.
const SCRATCH: usize = 256 << 10;

/// Turns of bulk transfers, of all sessions together, between two looks for events.
///
/// More of them let the others wait: with the runtime's own 61 ticks, small exchanges beside four transfers have a p99 of
/// 57 ms, and of 1.3 ms with this. A look after every turn gains nothing and costs the transfers a third more CPU, as
/// it finds less to move each time.
const TURNS_PER_LOOK: u32 = 2;

/// One worker's things.
#[derive(Debug)]
pub struct Local {
    /// Which worker.
    pub id: WorkerId,
    /// Counters and limits of the process.
    pub registry: Arc<Registry>,
    /// How busy all workers are.
    pub placement: Arc<Placement>,
    /// Where to hand a session over, by worker.
    pub inboxes: Box<[mpsc::Sender<Admitted>]>,
    /// This worker's sessions.
    pub sessions: Sessions,
    /// What it does, for busy polling.
    pub activity: Activity,
    /// Where the copy tier reads into; nothing is kept in it.
    pub scratch: RefCell<Box<[u8]>>,
    /// Turns of bulk transfers so far; wraps around.
    turns: Cell<u32>,
    /// What the kernel can do with datagrams.
    pub capabilities: Capabilities,
    /// Pipes for the splice tier.
    pipes: Rc<Pipes>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

impl Local {
    /// A worker's things before its first session.
    pub fn new(
        id: WorkerId,
        registry: Arc<Registry>,
        placement: Arc<Placement>,
        inboxes: Box<[mpsc::Sender<Admitted>]>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            id,
            registry,
            placement,
            inboxes,
            sessions: Sessions::default(),
            activity: Activity::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            turns: Cell::new(0),
            capabilities,
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

    /// Whether the configuration asks for short answers at any price.
    pub fn is_busy_polling(&self) -> bool {
        self.with_snapshot(|snapshot| snapshot.config.busy_poll.is_some())
    }

    /// Makes the runtime poll the task again, after the others that are ready.
    ///
    /// A woken task runs before the worker next looks for events, one that yields after it.
    pub fn yield_turn(&self, cx: &mut Context<'_>) {
        self.turns.set(self.turns.get().wrapping_add(1));
        if self.turns.get().is_multiple_of(TURNS_PER_LOOK) {
            let _pending = pin!(yield_now()).poll(cx);
        } else {
            cx.waker().wake_by_ref();
        }
    }

    /// An empty pipe, unless this worker has its share of what the descriptor limit leaves over, or the kernel refuses.
    pub fn take_pipe(&self) -> Option<PooledPipe> {
        let share = || self.with_snapshot(|snapshot| snapshot.config.max_pipes) / self.inboxes.len();
        self.pipes.take(share)
    }

    /// Whether there is a pipe to be had now.
    pub fn has_pipe(&self) -> bool {
        self.take_pipe().is_some()
    }
}
