//! One running proxy: started on its CPU, known to serve, stopped whatever happens.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::peers::limit::Rules;
use crate::peers::{Peer, Ready, Site, Transport};
use crate::usage::{self, Cpus, Meters};

/// Between two looks at a proxy that starts or stops.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bound on starting; none of them takes a tenth of it.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Bound on stopping by SIGTERM, before SIGKILL.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// Below the ephemeral range, so that no client's local port is in the way.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A proxy that serves; stopped when dropped.
pub(crate) struct Proxy {
    /// Absent where there is no proxy.
    child: Option<Child>,
    /// What the kernel was told instead.
    _rules: Option<Rules>,
    /// The whole tree, once it serves.
    processes: Vec<Pid>,
    site: Site,
    cpu: usize,
    /// Holds the configuration and the log.
    dir: TempDir,
}

impl Proxy {
    /// Starts `peer` in front of `backends` and waits until it serves.
    ///
    /// # Errors
    /// It ended, took too long, or some thread of it is not pinned; with the end of its log.
    pub(crate) async fn start(
        peer: &Peer,
        transport: Transport,
        backends: &[SocketAddr],
        cpus: Cpus,
    ) -> Result<Self, Failure> {
        let dir = TempDir::with_prefix("evenkeel-bench-")?;
        let [listen, admin] = free_addrs()?;
        let mut site = Site { dir: dir.path().into(), listen, admin, backends: backends.into() };
        if peer.is_limit() {
            let rules = if let Ready::Dnat = peer.ready {
                // The kernel remembers for a while where it sent whom: an address that nobody has asked for before.
                site.listen
                    .set_ip(Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255)).into());
                Some(Rules::install(&site)?)
            } else {
                site.listen = backends[0];
                None
            };
            return Ok(Self { child: None, _rules: rules, processes: Vec::new(), site, cpu: cpus.proxy, dir });
        }
        let log = File::create(dir.path().join("log"))?;
        let mut command = peer.command(&site, transport, cpus.proxy)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let pid = Pid::from_child(&child);
        let mut proxy = Self { child: Some(child), _rules: None, processes: Vec::new(), site, cpu: cpus.proxy, dir };

        let deadline = Instant::now() + START_LIMIT;
        while !proxy.serves(peer.ready, transport).await? {
            if Instant::now() > deadline {
                return Err(proxy.start_failed("does not serve"));
            }
            sleep(LOOK_AGAIN).await;
        }
        proxy.processes = usage::process_tree(pid)?;
        usage::check_pinned(&proxy.processes, cpus.proxy)?;
        Ok(proxy)
    }

    /// Where its clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.site.listen
    }

    pub(crate) fn meters(&self) -> io::Result<Meters> {
        Meters::read(&self.processes, self.cpu)
    }

    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        usage::resident_bytes(&self.processes)
    }

    async fn serves(&mut self, ready: Ready, transport: Transport) -> Result<bool, Failure> {
        let Some(child) = &mut self.child else { return Ok(true) };
        if let Some(status) = child.try_wait()? {
            return Err(self.start_failed(&status.to_string()));
        }
        let pid = Pid::from_child(child);
        match ready {
            Ready::Readyz => Ok(readyz(self.site.admin).await.unwrap_or(false)),
            Ready::Direct | Ready::Dnat => Ok(true),
            Ready::Listening { processes } => {
                Ok(is_listening(self.site.listen, transport)? && usage::process_tree(pid)?.len() == processes)
            }
        }
    }

    fn start_failed(&self, how: &str) -> Failure {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let last = log.lines().rev().take(3).collect::<Vec<_>>().join(" <- ");
        Failure::Start(format!("did not start: {how}; the end of its log, last line first: {last}"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // Not yet waited for, so the process id is still its own; that it has already ended is no error.
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
        if !has_ended_by(child, Instant::now() + STOP_LIMIT) {
            for &pid in &self.processes {
                let _ = kill_process(pid, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn has_ended_by(child: &mut Child, deadline: Instant) -> bool {
    while let Ok(None) = child.try_wait() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    true
}

/// Two free addresses on 127.0.0.1.
fn free_addrs() -> Result<[SocketAddr; 2], Failure> {
    let mut free = PORTS
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .filter(|addr| std::net::TcpListener::bind(addr).is_ok());
    match (free.next(), free.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(Failure::Machine(format!("no two free ports in {PORTS:?}"))),
    }
}

/// Asks the kernel rather than connecting: a probe would reach a backend and spoil the accounts.
fn is_listening(addr: SocketAddr, transport: Transport) -> io::Result<bool> {
    // A UDP socket that is bound is in the state that the kernel calls CLOSE.
    let (table, state) = match transport {
        Transport::Tcp => ("/proc/net/tcp", "0A"),
        Transport::Udp => ("/proc/net/udp", "07"),
    };
    let port = format!(":{:04X}", addr.port());
    Ok(fs::read_to_string(table)?.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some(state)
    }))
}

async fn readyz(admin: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}
