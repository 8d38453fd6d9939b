//! Who runs on which CPU.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::outcome::Failure;

/// One CPU for each side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpus {
    /// All threads of the proxy.
    pub(crate) proxy: usize,
    /// Clients and backends.
    pub(crate) load: usize,
}

impl Cpus {
    /// # Errors
    /// The two are one, or this process may not run on both.
    pub(crate) fn check(self) -> Result<(), Failure> {
        let ours = sched_getaffinity(None).map_err(io::Error::from)?;
        let usable = |cpu: usize| cpu < CpuSet::MAX_CPU && ours.is_set(cpu);
        if self.proxy == self.load || !usable(self.proxy) || !usable(self.load) {
            return Err(Failure::Machine(format!(
                "two CPUs are needed, one for the proxy (--proxy-cpu {}) and one for the load (--load-cpu {}); \
                 this process may run on {} CPUs",
                self.proxy,
                self.load,
                ours.count()
            )));
        }
        Ok(())
    }

    /// Moves this process, which has one thread yet, to the load's CPU.
    pub(crate) fn take_load_cpu(self) -> io::Result<()> {
        let mut cpus = CpuSet::new();
        cpus.set(self.load);
        Ok(sched_setaffinity(None, &cpus)?)
    }
}
