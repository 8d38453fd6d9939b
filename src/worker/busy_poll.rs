//! Busy polling: looking for events a while longer before going to sleep.
//!
//! A worker that sleeps has to be woken, which takes the kernel some microseconds and, on a virtual machine, many. With
//! `busy_poll` set, a worker that has just done something keeps asking the kernel for events instead, for that long.
//! The price is the CPU time of all those questions; a worker at rest still sleeps.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::local::Local;

/// Keeps the worker awake for `limit` after everything it does, for ever.
///
/// A task that yields has the runtime look for events without waiting for any, and run what they wake, before it is
/// polled again.
pub(super) async fn busy_poll(local: Rc<Local>, limit: Duration) {
    let activity = &local.activity;
    loop {
        let mut seen = activity.count();
        let mut since = Instant::now();
        while since.elapsed() < limit {
            yield_now().await;
            if activity.count() != seen {
                seen = activity.count();
                since = Instant::now();
            }
        }
        activity.after(seen).await;
    }
}
