//! Reading and validating the file for a reload, on a thread that may be left behind.
//!
//! It may take for ever: a disk may hang, and the file may be a FIFO without a writer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::file::{self, FileError};
use crate::config::{Config, Machine};
use crate::sys::machine;

/// How long a reload waits for its file; a disk takes milliseconds.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Reads that may be under way, those included that no reload waits for any more: each keeps a thread.
const MAX_READERS: usize = 4;

/// What came of reading the file: a configuration, and the machine that it was checked against.
pub(super) type FileRead = Result<(Config, Machine), FileError>;

/// The reads that are under way.
#[derive(Debug)]
pub(super) struct Readers(Arc<Semaphore>);

impl Default for Readers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_READERS)))
    }
}

impl Readers {
    /// Reads and validates a file, within a time and unless too many earlier reads hang.
    pub(super) fn read(&self, path: PathBuf, machine: Machine) -> impl Future<Output = FileRead> + use<> {
        let reader = Arc::clone(&self.0).try_acquire_owned();
        async move {
            let failed = |source| FileError::Read { path: path.clone(), source };
            let Ok(reader) = reader else {
                return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "earlier reads of it hang")));
            };
            let reading = {
                let path = path.clone();
                spawn_blocking(move || {
                    // Other programs may have changed it since.
                    let machine = Machine { ephemeral_ports: machine::ephemeral_ports(), ..machine };
                    let config = file::read(&path, &machine);
                    drop(reader);
                    config.map(|config| (config, machine))
                })
            };
            match timeout(READ_LIMIT, reading).await {
                Ok(Ok(read)) => read,
                Ok(Err(panicked)) => Err(failed(panicked.into())),
                Err(elapsed) => Err(failed(elapsed.into())),
            }
        }
    }
}
