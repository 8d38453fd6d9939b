//! What `/proc` says about a process tree.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::outcome::Failure;

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

/// Whether a process runs no more, be it that nobody has asked yet how it ended.
pub(crate) fn has_ended(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // The state comes after the name, which is in parentheses and may contain some.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
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
pub(super) fn cpu_time(processes: &[Pid]) -> io::Result<Duration> {
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

pub(super) fn unexpected(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc: {file} looks unlike what it should"))
}
