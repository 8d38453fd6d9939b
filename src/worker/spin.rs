//! Busy polling: looking for events a while longer before going to sleep.
//!
//! A worker that sleeps has to be woken, which takes the kernel some microseconds and, on a virtual machine, many. With
//! `busy_poll` set, a worker that has just done something keeps asking the kernel for events instead, for that long.
//! Whoever sets it pays with the CPU time of all those questions; a worker at rest still sleeps.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use super::local::Local;

/// What a worker has done, as far as busy polling wants to know: that there was something.
#[derive(Debug, Default)]
pub struct Activity {
    /// Wraps around; only compared.
    turns: Cell<u32>,
    /// Who waits for the next turn.
    waiting: RefCell<Option<Waker>>,
}

impl Activity {
    /// Notes that bytes have moved or a connection has come.
    pub fn note(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// How often that was; wraps around.
    pub fn turns(&self) -> u32 {
        self.turns.get()
    }

    /// Waits until there are other turns than the `seen` ones.
    async fn after(&self, seen: u32) {
        poll_fn(|cx| {
            if self.turns.get() != seen {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Keeps the worker awake for `limit` after everything it does, for ever.
///
/// A task that yields has the runtime look for events without waiting for any, and run what they wake, before it is
/// polled again.
pub(super) async fn busy_poll(local: Rc<Local>, limit: Duration) {
    let activity = &local.activity;
    loop {
        let mut seen = activity.turns();
        let mut since = Instant::now();
        while since.elapsed() < limit {
            yield_now().await;
            if activity.turns() != seen {
                seen = activity.turns();
                since = Instant::now();
            }
        }
        activity.after(seen).await;
    }
}
