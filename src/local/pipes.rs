//! The pipes of one worker, kept for reuse.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::Duration;

use crate::sys::clock::Tick;
use crate::sys::pipe::Pipe;

/// Empty pipes kept for the next session; making one costs four system calls.
const SPARES: usize = 16;

/// After the kernel refused a pipe, none is asked for this long.
const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes {
    /// Pipes in existence, spares included.
    count: Cell<usize>,
    spares: RefCell<Vec<Pipe>>,
    refused: Cell<Option<Tick>>,
}

/// A pipe on loan. It returns to the cache when it is dropped empty, and is closed when bytes are left in it.
#[derive(Debug)]
pub struct Loan {
    pipe: Option<Pipe>,
    pipes: Rc<Pipes>,
}

impl Pipes {
    /// An empty pipe; `None` while the kernel refuses, and when there are `limit` of them.
    pub fn borrow(self: &Rc<Self>, limit: impl FnOnce() -> usize) -> Option<Loan> {
        let pipe = self.spares.borrow_mut().pop().or_else(|| self.create(limit()))?;
        Some(Loan { pipe: Some(pipe), pipes: Rc::clone(self) })
    }

    fn create(&self, limit: usize) -> Option<Pipe> {
        let is_pausing = self.refused.get().is_some_and(|refused| Tick::now().since(refused) < REFUSAL_PAUSE);
        if self.count.get() >= limit || is_pausing {
            return None;
        }
        match Pipe::new() {
            Ok(pipe) => {
                self.count.set(self.count.get() + 1);
                Some(pipe)
            }
            Err(error) => {
                tracing::debug!(%error, "no pipe to splice through, copying instead");
                self.refused.set(Some(Tick::now()));
                None
            }
        }
    }

    fn take_back(&self, pipe: Pipe) {
        let mut spares = self.spares.borrow_mut();
        if pipe.queued() == 0 && spares.len() < SPARES {
            spares.push(pipe);
        } else {
            self.count.set(self.count.get() - 1);
        }
    }
}

impl Deref for Loan {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        self.pipe.as_ref().expect("a loan has its pipe until it is dropped")
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("a loan has its pipe until it is dropped")
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.pipes.take_back(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn pipes_are_bounded_and_come_back() {
        let pipes = Rc::new(Pipes::default());
        let first = pipes.borrow(|| 2).expect("first");
        let _second = pipes.borrow(|| 2).expect("second");
        assert!(pipes.borrow(|| 2).is_none());
        drop(first);
        assert_eq!(pipes.spares.borrow().len(), 1);
        assert!(pipes.borrow(|| 2).is_some());
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_never_reused() {
        let pipes = Rc::new(Pipes::default());
        let (mut client, source) = UnixStream::pair().expect("socket pair");
        client.write_all(b"left over").expect("write");
        let mut loan = pipes.borrow(|| 1).expect("pipe");
        loan.fill(&source, usize::MAX).expect("fill");
        drop(loan);
        assert!(pipes.spares.borrow().is_empty());
        assert!(pipes.borrow(|| 1).is_some(), "its place is free again");
    }
}
