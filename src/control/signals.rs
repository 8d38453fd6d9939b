//! Signals: kept from the moment that the process can keep them, handled when somebody listens.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level};
use tokio::net::UnixStream;

use crate::sys;

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT; a second one means at once.
    Terminate,
}

/// The signals that have come and were not taken yet. Like the kernel, it keeps one of each kind.
#[derive(Debug)]
pub struct PendingSignals {
    reload: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    /// Readable whenever a signal has come since it was last read.
    wake: StdUnixStream,
}

/// PendingSignals signals within a runtime.
#[derive(Debug)]
pub struct Signals {
    reload: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    wake: UnixStream,
}

impl PendingSignals {
    /// Installs the handlers, and unblocks the signals in case the parent process had them blocked. From here on no
    /// signal of ours kills the process, and it stays so to the end.
    ///
    /// # Errors
    /// No descriptors, or the kernel refuses.
    pub fn install() -> io::Result<Self> {
        let (reload, terminate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (wake, signalled) = StdUnixStream::pair()?;
        for (signal, kept) in [(SIGHUP, &reload), (SIGTERM, &terminate), (SIGINT, &terminate)] {
            // The order matters: the task that is woken must find the flag.
            flag::register(signal, Arc::clone(kept))?;
            low_level::pipe::register(signal, signalled.try_clone()?)?;
        }
        // They mean nothing yet; a log rotation that sends one out of habit must not end the process.
        for signal in [SIGUSR1, SIGUSR2] {
            flag::register(signal, Arc::default())?;
        }
        wake.set_nonblocking(true)?;
        sys::signal::unblock(&[SIGHUP, SIGTERM, SIGINT])?;
        Ok(Self { reload, terminate, wake })
    }

    /// Listens on the current runtime; what has come before is not lost.
    ///
    /// # Errors
    /// The kernel has no room for another watch.
    pub fn listen(&self) -> io::Result<Signals> {
        let wake = UnixStream::from_std(self.wake.try_clone()?)?;
        Ok(Signals { reload: Arc::clone(&self.reload), terminate: Arc::clone(&self.terminate), wake })
    }
}

impl Signals {
    /// Takes the next signal; one that ends us goes first. Nothing is lost when this is cancelled.
    pub async fn next(&mut self) -> Signal {
        loop {
            if self.terminate.swap(false, Ordering::Relaxed) {
                return Signal::Terminate;
            }
            if self.reload.swap(false, Ordering::Relaxed) {
                return Signal::Reload;
            }
            self.woken().await;
        }
    }

    /// Waits for a signal that ends us, and leaves all to be taken.
    pub async fn terminated(&mut self) {
        while !self.terminate.load(Ordering::Relaxed) {
            self.woken().await;
        }
    }

    /// Waits until some signal has come since this was last waited for.
    async fn woken(&self) {
        let mut bytes = [0; 64];
        loop {
            if self.wake.readable().await.is_err() {
                // Only the end of the runtime makes this fail.
                std::future::pending::<()>().await;
            }
            match self.wake.try_read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}
