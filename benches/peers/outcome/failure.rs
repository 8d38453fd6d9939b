//! Why a benchmark, or one measurement of it, says nothing.

use std::io;

/// What went wrong. A failed measurement is reported in its place and does not stop the others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A selected peer is not installed.
    #[error("{0}")]
    MissingPeer(String),
    /// A `--case` or `--peer` that does not exist.
    #[error("no {kind} is called `{name}`; there are: {known}")]
    Unknown {
        /// `case` or `peer`.
        kind: &'static str,
        /// As given.
        name: String,
        /// All of them.
        known: String,
    },
    /// The machine lacks something that every measurement needs.
    #[error("{0}")]
    Machine(String),
    /// A proxy did not come up, or not where it was put.
    #[error("{0}")]
    Start(String),
    /// The load did not come through whole: an error, a difference in the accounts, or something left open.
    #[error("{0}")]
    Load(String),
    /// Ctrl-C.
    #[error("interrupted; everything that was started has been stopped")]
    Interrupted,
    /// A system call of ours.
    #[error(transparent)]
    Io(#[from] io::Error),
}
