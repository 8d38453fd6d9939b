//! What the kernel says of a running process.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::wait::{SOON, wait_until};

/// A live process, seen through /proc.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pid: u32,
}

/// Open descriptors, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Sockets of any kind.
    pub sockets: usize,
    /// Ends of pipes.
    pub pipes: usize,
    /// All, files and epoll included.
    pub total: usize,
}

/// The states of /proc/net/tcp that tests ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    /// Both directions open.
    Established,
    /// The peer has ended, we have not.
    CloseWait,
}

impl Process {
    /// The process with this id.
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Its id.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Sends `signal`.
    pub fn signal(self, signal: Signal) {
        kill_process(self.rustix_pid(), signal).expect("the process is alive");
    }

    /// Stops all its threads, until SIGCONT.
    #[track_caller]
    pub fn stop(self) {
        self.signal(Signal::STOP);
        wait_until("every thread has stopped", SOON, || {
            let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the process is alive").flatten();
            let states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
            // The state follows the name, which stands in parentheses and may hold any others.
            states.into_iter().all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        });
    }

    /// Changes the soft limit of its open descriptors and leaves the hard one.
    pub fn limit_descriptors(self, soft: u64) {
        let limits = Rlimit { current: Some(soft), maximum: self.hard_descriptor_limit() };
        prlimit(Some(self.rustix_pid()), Resource::Nofile, limits).expect("the process is ours");
    }

    /// The signals that it has handlers for, as bits from that of signal 1 on.
    pub fn caught_signals(self) -> u64 {
        let status = self.read("status");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("every process has it");
        u64::from_str_radix(mask.trim(), 16).expect("a mask in hex")
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a live process has VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|field| field.parse().ok()).expect("a number of kB");
        kib * 1024
    }

    /// Processor time of all its threads.
    pub fn cpu_time(self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).expect("the process is alive");
        let nanos = tasks
            .flatten()
            // A thread may end between the listing and the reading.
            .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
            .map(|text| {
                text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).expect("nanoseconds on a CPU")
            })
            .sum();
        Duration::from_nanos(nanos)
    }

    /// Its open descriptors.
    pub fn descriptors(self) -> Descriptors {
        let links = self.descriptor_links();
        let count = |kind: &str| links.iter().filter(|link| link.starts_with(kind)).count();
        Descriptors { sockets: count("socket:"), pipes: count("pipe:"), total: links.len() }
    }

    /// The number that its next descriptor will have.
    pub fn next_descriptor(self) -> u64 {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the process is alive").flatten();
        let taken: BTreeSet<u64> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        (0..).find(|number| !taken.contains(number)).expect("there are fewer descriptors than numbers")
    }

    /// Its TCP sockets in `state`, of those that have the port of `local` when it is given.
    pub fn sockets_in(self, state: TcpState, local: Option<SocketAddr>) -> usize {
        let inodes: Vec<String> = self
            .descriptor_links()
            .iter()
            .filter_map(|link| link.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
            .collect();
        let code = match state {
            TcpState::Established => "01",
            TcpState::CloseWait => "08",
        };
        let suffix = local.map(|addr| format!(":{:04X}", addr.port())).unwrap_or_default();
        ["net/tcp", "net/tcp6"]
            .iter()
            .flat_map(|table| self.read(table).lines().skip(1).map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                fields[3] == code && fields[1].ends_with(&suffix) && inodes.iter().any(|inode| inode == fields[9])
            })
            .count()
    }

    /// `None` when it is unlimited.
    fn hard_descriptor_limit(self) -> Option<u64> {
        let limits = self.read("limits");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("every process has it");
        line.split_whitespace().nth(4).and_then(|field| field.parse().ok())
    }

    fn descriptor_links(self) -> Vec<String> {
        fs::read_dir(format!("/proc/{}/fd", self.pid))
            .expect("the process is alive")
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .collect()
    }

    fn read(self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).expect("the process is alive")
    }

    fn rustix_pid(self) -> Pid {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("a process id is a positive i32")
    }
}
