//! What this machine grants the process.

use std::io;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that the process may have open once it has raised its soft limit to the hard one.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the soft limit on descriptors to the hard one.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// CPUs in the affinity mask; 1 when the kernel does not say.
pub fn cpus() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
