//! Whether a worker has done anything lately.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// How often a worker has done something.
#[derive(Debug, Default)]
pub struct Activity {
    /// Wraps around; only compared.
    count: Cell<u32>,
    /// Who waits for it to do something.
    waiting: RefCell<Option<Waker>>,
}

impl Activity {
    /// Notes that bytes have moved or a connection has come.
    pub fn note(&self) {
        self.count.set(self.count.get().wrapping_add(1));
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// How often that was; wraps around.
    pub fn count(&self) -> u32 {
        self.count.get()
    }

    /// Waits until it has done something since `seen`.
    pub async fn after(&self, seen: u32) {
        poll_fn(|cx| {
            if self.count.get() != seen {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
