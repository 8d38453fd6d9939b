//! Ctrl-c for the commands that are not a service: `demo` and `simulate`.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};
use tokio::net::UnixStream;

/// What a shell reports for a program ended by ctrl-c: 128 and the number of SIGINT.
const ENDED_BY_SIGNAL: i32 = 130;

/// SIGINT or SIGTERM: the first one asks for a clean stop, the second one ends the process at once.
#[derive(Debug)]
pub(crate) struct Interrupt {
    seen: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Interrupt {
    /// Installs the handlers. Must be called within a runtime.
    pub(crate) fn install() -> io::Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        let (wake, signalled) = StdUnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal must find the flag unset, and set it before it wakes the program.
            flag::register_conditional_shutdown(signal, ENDED_BY_SIGNAL, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
            low_level::pipe::register(signal, signalled.try_clone()?)?;
        }
        wake.set_nonblocking(true)?;
        Ok(Self { seen, wake: UnixStream::from_std(wake)? })
    }

    /// Set by the signal itself, before anything else in the process can notice it.
    pub(crate) fn seen(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.seen)
    }

    /// Ready once a signal has come.
    pub(crate) async fn received(&self) {
        // An error would mean that our own socket pair is gone: time to stop as well.
        let _ = self.wake.readable().await;
    }
}
