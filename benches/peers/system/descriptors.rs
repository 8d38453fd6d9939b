//! How many descriptors a process may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::outcome::Failure;

/// Descriptors that a process needs beside those of its connections.
const RESERVE: u64 = 200;

/// Raises the descriptor limit as far as it goes; children inherit it.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// # Errors
/// `needed` descriptors, and the reserve, do not fit the limit.
pub(crate) fn check_descriptors(needed: usize) -> Result<(), Failure> {
    let needed = needed as u64 + RESERVE;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => {
            Err(Failure::Machine(format!("needs {needed} descriptors, the limit is {limit} (ulimit -Hn)")))
        }
        _ => Ok(()),
    }
}
