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

/// A pipe of the cache. It returns there when it is dropped empty, and is closed when bytes are left in it.
#[derive(Debug)]
pub struct PooledPipe {
    pipe: Option<Pipe>,
    pipes: Rc<Pipes>,
}

impl Pipes {
    /// An empty pipe; `None` while the kernel refuses, and when there are `limit` of them.
    pub fn take(self: &Rc<Self>, limit: impl FnOnce() -> usize) -> Option<PooledPipe> {
        let pipe = self.spares.borrow_mut().pop().or_else(|| self.create(limit()))?;
        Some(PooledPipe { pipe: Some(pipe), pipes: Rc::clone(self) })
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

impl Deref for PooledPipe {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        self.pipe.as_ref().expect("it has its pipe until it is dropped")
    }
}

impl DerefMut for PooledPipe {
    fn deref_mut(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("it has its pipe until it is dropped")
    }
}

impl Drop for PooledPipe {
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
        let first = pipes.take(|| 2).expect("first");
        let _second = pipes.take(|| 2).expect("second");
        assert!(pipes.take(|| 2).is_none());
        drop(first);
        assert_eq!(pipes.spares.borrow().len(), 1);
        assert!(pipes.take(|| 2).is_some());
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_never_reused() {
        let pipes = Rc::new(Pipes::default());
        let (mut client, source) = UnixStream::pair().expect("socket pair");
        client.write_all(b"left over").expect("write");
        let mut pipe = pipes.take(|| 1).expect("pipe");
        pipe.fill(&source, usize::MAX).expect("fill");
        drop(pipe);
        assert!(pipes.spares.borrow().is_empty());
        assert!(pipes.take(|| 1).is_some(), "its place is free again");
    }
}
