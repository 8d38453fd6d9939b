//! The CPU time that a process tree uses and what its CPU does beside.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::processes::{cpu_time, unexpected};

/// Readings that only grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meters {
    at: Instant,
    /// CPU time of all threads of the proxy.
    proxy: Duration,
    /// Time that the proxy's CPU was not idle, whoever had it: processes, interrupts, the hypervisor.
    busy: Duration,
}

/// Time between two readings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    elapsed: Duration,
    proxy: Duration,
    /// What others had of the proxy's CPU. On kernels with CONFIG_IRQ_TIME_ACCOUNTING this includes the network
    /// interrupts on the proxy's behalf, which are otherwise charged to the proxy.
    others: Duration,
}

impl Meters {
    pub(crate) fn read(processes: &[Pid], cpu: usize) -> io::Result<Self> {
        Ok(Self { at: Instant::now(), proxy: cpu_time(processes)?, busy: busy_time(cpu)? })
    }
}

impl std::ops::Sub for Meters {
    type Output = Spent;

    fn sub(self, earlier: Self) -> Spent {
        let proxy = self.proxy.saturating_sub(earlier.proxy);
        let others = self.busy.saturating_sub(earlier.busy).saturating_sub(proxy);
        Spent { elapsed: self.at - earlier.at, proxy, others }
    }
}

impl Spent {
    /// Seconds on the clock.
    pub(crate) fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64()
    }

    /// Seconds of CPU time of the proxy.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.proxy.as_secs_f64()
    }

    /// Microseconds of CPU time of the proxy.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_seconds() * 1e6
    }

    /// Share of the proxy's CPU that others had.
    pub(crate) fn disturbance(&self) -> f64 {
        self.others.as_secs_f64() / self.seconds()
    }
}

/// Time that `cpu` was neither idle nor waiting for a disk.
fn busy_time(cpu: usize) -> io::Result<Duration> {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/stat")?;
    let label = format!("cpu{cpu} ");
    let columns = stat.lines().find_map(|line| line.strip_prefix(&label)).ok_or_else(|| unexpected("stat"))?;
    // user nice system idle iowait irq softirq steal; the guest columns are contained in user.
    let ticks = columns.split_whitespace().enumerate().take(8).filter(|(column, _)| !matches!(column, 3 | 4));
    let busy = ticks.filter_map(|(_, ticks)| ticks.parse::<u32>().ok()).map(|ticks| TICK * ticks).sum();
    Ok(busy)
}
