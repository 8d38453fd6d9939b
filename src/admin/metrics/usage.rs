//! What the kernel says of this process, under the names that every Prometheus client uses.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The resources of the process at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// User and system time of all threads, ended ones included.
    pub(super) cpu_seconds: f64,
    /// Since the epoch.
    pub(super) started_seconds: f64,
    /// Memory in RAM.
    pub(super) resident_bytes: u64,
    /// Address space.
    pub(super) virtual_bytes: u64,
    /// Descriptors in use.
    pub(super) open_fds: u64,
    /// The soft limit on them; `None` is unlimited.
    pub(super) max_fds: Option<u64>,
}

/// When the process started, in seconds since the epoch. Worked out once: derived anew from two clocks it would jitter.
static STARTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let started = Stat::read()?.started_ticks as f64 / ticks_per_second();
    Some(now.as_secs_f64() - since_boot.as_secs_f64() + started)
});

impl Usage {
    /// What is used now; `None` where there is no /proc.
    pub(super) fn read() -> Option<Self> {
        let stat = Stat::read()?;
        Some(Self {
            cpu_seconds: stat.cpu_ticks as f64 / ticks_per_second(),
            started_seconds: (*STARTED)?,
            resident_bytes: stat.resident_pages * page_size() as u64,
            virtual_bytes: stat.virtual_bytes,
            open_fds: open_fds()?,
            max_fds: getrlimit(Resource::Nofile).current,
        })
    }
}

fn ticks_per_second() -> f64 {
    clock_ticks_per_second() as f64
}

/// Since Linux 6.2 the directory's size is the number of open descriptors; before, it is 0 and they are counted, which
/// takes 10 ms or so for 100,000 of them.
fn open_fds() -> Option<u64> {
    const DIR: &str = "/proc/self/fd";
    match fs::metadata(DIR).ok()?.len() {
        0 => u64::try_from(fs::read_dir(DIR).ok()?.count()).ok(),
        open => Some(open),
    }
}

/// The fields of /proc/self/stat that are shown, in the units of the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    /// Since boot.
    started_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// Parses the line described in proc_pid_stat(5). The command is its second field and may hold anything, so fields
    /// count from the last parenthesis, after which the third one starts.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            started_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_a_command_with_anything_in_it() {
        let line =
            "7 (a ) 1 2) S 1 7 7 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 3 0 5000 8192000 250 18446744073709551615";
        let stat = Stat { cpu_ticks: 42, started_ticks: 5_000, virtual_bytes: 8_192_000, resident_pages: 250 };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1 7"), None);
    }

    #[test]
    fn usage_sees_this_process() {
        let before = Usage::read().expect("Linux has /proc");
        let memory = vec![1_u8; 1 << 20];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let after = Usage::read().expect("Linux has /proc");
        assert!(after.open_fds >= 3 && Some(after.open_fds) <= after.max_fds, "{after:?}");
        assert!(after.resident_bytes > memory.len() as u64 && after.virtual_bytes > after.resident_bytes, "{after:?}");
        assert!(after.cpu_seconds >= before.cpu_seconds, "{before:?} {after:?}");
        assert!((now - 600.0..=now).contains(&after.started_seconds), "{now} {after:?}");
    }
}
