//! What this machine gives to this process.

use std::io;
use std::num::{NonZeroU64, NonZeroUsize};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit};
use rustix::thread::set_current_timer_slack;

/// Descriptors that this process may raise itself to: the hard limit. `u64::MAX` if there is none.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the soft limit on descriptors to the hard one.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Makes room in the kernel's table of our descriptors, now rather than while clients wait: each time that the table of a
/// process with several threads grows, the thread that opens a descriptor waits for all CPUs, some 10 ms. With one thread it
/// does not, and the second time there is nothing to be done.
pub fn widen_descriptor_table() {
    // 8 bytes each; a larger table is made when it is needed.
    const MOST: u64 = 1 << 18;
    let last = i32::try_from(descriptor_limit().min(MOST)).unwrap_or(i32::MAX) - 1;
    // Without stderr, or room for one more, the table grows later.
    drop(fcntl_dupfd_cloexec(std::io::stderr(), last));
}

/// Lets the current thread, and those that it starts, have a CPU after others that want it: by ten steps of niceness, which
/// makes a tenth of an equal share. It still gets there within some 30 ms.
pub fn step_back() {
    const STEPS: i32 = 10;
    // Neither fails for a thread's own priority as long as it goes down.
    if let Ok(priority) = getpriority_process(None) {
        let _ = setpriority_process(None, priority + STEPS);
    }
}

/// Has the current thread woken from short sleeps on time. For others the kernel adds up to 50 us, to wake several at once.
pub fn wake_on_time() {
    const SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).expect("1,000 is not 0");
    // It does not fail for one's own thread; if it did, pauses would be longer.
    let _ = set_current_timer_slack(Some(SLACK_NS));
}

/// CPUs that this process may run on, by its affinity mask and its cgroup's quota; 1 if that cannot be known.
pub fn cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Ports that sockets without one of their own may have, of each transport (`net.ipv4.ip_local_port_range`, for IPv6 as
/// well); as many as the kernel's default, if that cannot be known.
pub fn ephemeral_ports() -> u32 {
    const DEFAULT: u32 = 28_232;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    range.and_then(|range| ports_in(&range)).unwrap_or(DEFAULT)
}

/// How many ports there are from the first to the last of two numbers.
fn ports_in(range: &str) -> Option<u32> {
    let mut ports = range.split_whitespace().map(|port| port.parse::<u16>().ok());
    let (first, last) = (ports.next()??, ports.next()??);
    Some(u32::from(last.checked_sub(first)?) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_has_its_last_one_too() {
        assert_eq!(ports_in("32768\t60999\n"), Some(28_232));
        assert_eq!(ports_in("1024\t65535"), Some(64_512));
        assert_eq!(["", "1", "2 1", "x y", "1 65536"].map(ports_in), [None; 5]);
        assert!((1..=65_536).contains(&ephemeral_ports()));
    }

    #[test]
    fn a_thread_that_steps_back_leaves_the_others_alone() {
        let priority = || getpriority_process(None).expect("one's own");
        let before = priority();
        let stepped_back = std::thread::spawn(move || {
            step_back();
            priority()
        });
        assert_eq!(stepped_back.join().expect("no panic"), (before + 10).min(19));
        assert_eq!(priority(), before);
    }
}
