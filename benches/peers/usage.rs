//! What a process tree uses, read from `/proc`; and which CPUs it may use.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::Failure;

/// Descriptors that a process needs beside those of its connections.
const DESCRIPTOR_RESERVE: u64 = 200;

/// Who runs where.
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

/// Raises the descriptor limit as far as it goes; children inherit it.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// # Errors
/// `needed` descriptors, and the reserve, do not fit the limit.
pub(crate) fn check_descriptors(needed: usize) -> Result<(), Failure> {
    let needed = needed as u64 + DESCRIPTOR_RESERVE;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => {
            Err(Failure::Machine(format!("needs {needed} descriptors, the limit is {limit} (ulimit -Hn)")))
        }
        _ => Ok(()),
    }
}

/// Readings that only grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meters {
    /// CPU time of all threads of the proxy.
    proxy: Duration,
    /// Time that the proxy's CPU was not idle, whoever had it: processes, interrupts, the hypervisor.
    busy: Duration,
}

/// CPU time between two readings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) proxy: Duration,
    /// What others had of the proxy's CPU. On kernels with CONFIG_IRQ_TIME_ACCOUNTING this includes the network
    /// interrupts on the proxy's behalf, which are otherwise charged to the proxy.
    pub(crate) others: Duration,
}

impl Meters {
    pub(crate) fn read(processes: &[Pid], cpu: usize) -> io::Result<Self> {
        Ok(Self { proxy: cpu_time(processes)?, busy: busy_time(cpu)? })
    }
}

impl std::ops::Sub for Meters {
    type Output = Spent;

    fn sub(self, earlier: Self) -> Spent {
        let proxy = self.proxy.saturating_sub(earlier.proxy);
        Spent { proxy, others: self.busy.saturating_sub(earlier.busy).saturating_sub(proxy) }
    }
}

/// `root` and all its descendants.
pub(crate) fn process_tree(root: Pid) -> io::Result<Vec<Pid>> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        for thread in threads(pid)? {
            let Some(children) = read_of(&thread, "children")? else { continue };
            tree.extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
        }
        next += 1;
    }
    Ok(tree)
}

/// # Errors
/// A thread that may run elsewhere than on `cpu`.
pub(crate) fn check_pinned(processes: &[Pid], cpu: usize) -> Result<(), Failure> {
    let wanted = cpu.to_string();
    for &pid in processes {
        for thread in threads(pid)? {
            let Some(status) = read_of(&thread, "status")? else { continue };
            let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("").trim();
            if allowed != wanted {
                return Err(Failure::Start(format!("{thread} may run on CPUs {allowed} instead of {wanted} only")));
            }
        }
    }
    Ok(())
}

/// Resident bytes of all of them.
pub(crate) fn resident_bytes(processes: &[Pid]) -> io::Result<u64> {
    let mut sum = 0;
    for pid in processes {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero()))?;
        let kib = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .ok_or_else(|| unexpected("smaps_rollup"))?;
        sum += kib * 1024;
    }
    Ok(sum)
}

/// Time on a CPU of all their threads, in nanoseconds of the scheduler's clock. A running thread's figure is as old as
/// the last tick, at most 10 ms. Threads that end take theirs along; workers live as long as their process.
fn cpu_time(processes: &[Pid]) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for &pid in processes {
        for thread in threads(pid)? {
            let Some(schedstat) = read_of(&thread, "schedstat")? else { continue };
            let ns = schedstat.split(' ').next().and_then(|ns| ns.parse().ok());
            sum += Duration::from_nanos(ns.ok_or_else(|| unexpected("schedstat"))?);
        }
    }
    Ok(sum)
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

/// Paths `/proc/PID/task/TID`.
fn threads(pid: Pid) -> io::Result<Vec<String>> {
    let pid = pid.as_raw_nonzero();
    fs::read_dir(format!("/proc/{pid}/task"))?
        .map(|entry| Ok(format!("/proc/{pid}/task/{}", entry?.file_name().display())))
        .collect()
}

/// A file of a thread; `None` if the thread has ended meanwhile.
fn read_of(thread: &str, file: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(format!("{thread}/{file}")) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unexpected(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc: {file} looks unlike what it should"))
}
