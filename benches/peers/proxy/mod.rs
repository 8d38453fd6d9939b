//! One running proxy: started on its CPU, known to serve, stopped whatever happens.

mod access_log;
mod dnat;
mod process;
mod readiness;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tempfile::TempDir;
use tokio::time::sleep;

use self::dnat::Rules;
use self::process::Process;
use crate::outcome::Failure;
use crate::peers::{AccessLog, Peer, Ready, Site, Transport};
use crate::system::{self, Cpus, Meters};

/// Between two looks at a proxy that starts or comes to an end.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bound on starting; none of them takes a tenth of it.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Bound on noticing that clients are gone.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Below the ephemeral range, so that no client's local port is in the way.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A proxy that serves; stopped when dropped.
pub(crate) struct Proxy {
    running: Running,
    site: Site,
    cpu: usize,
    /// The access log, if it writes one.
    records: Option<PathBuf>,
    /// Holds the configuration and the logs.
    _dir: TempDir,
}

/// What does the work.
enum Running {
    Process(Process),
    /// The kernel, as it was told.
    Rules {
        _rules: Rules,
    },
    /// Nobody: clients connect to the backend.
    Nothing,
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
        let access_log = peer.access_log;
        let mut site = Site { dir: dir.path().into(), listen, admin, backends: backends.into(), access_log };
        let running = match peer.ready {
            Ready::Direct => {
                site.listen = backends[0];
                Running::Nothing
            }
            Ready::Dnat => {
                // The kernel remembers for a while where it sent whom: an address that nobody has asked for before.
                let ip = Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255));
                site.listen.set_ip(ip.into());
                Running::Rules { _rules: Rules::install(&site)? }
            }
            Ready::Readyz | Ready::Listening { .. } => {
                let mut process = start_process(peer, &site, transport, cpus.proxy)?;
                let served = wait_until_it_serves(&mut process, peer.ready, &site, transport).await;
                served.and_then(|()| process.complete(cpus.proxy)).map_err(|failure| with_log(&failure, &site))?;
                Running::Process(process)
            }
        };
        let records = (access_log == AccessLog::On).then(|| (peer.records)(&site));
        Ok(Self { running, site, cpu: cpus.proxy, records, _dir: dir })
    }

    /// Where its clients connect.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.site.listen
    }

    pub(crate) fn meters(&self) -> io::Result<Meters> {
        Meters::read(self.processes(), self.cpu)
    }

    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        system::resident_bytes(self.processes())
    }

    /// Stops it in order and looks whether its access log, if it writes one, tells of all `sessions` that it had.
    ///
    /// # Errors
    /// It does not: what was measured is not what it claims to be.
    pub(crate) async fn stop(self, sessions: u64) -> Result<(), Failure> {
        let Some(records) = self.records else { return Ok(()) };
        // Clients are gone, but it need not have noticed yet.
        let deadline = Instant::now() + END_LIMIT;
        while readiness::has_sessions(self.site.listen)? && Instant::now() < deadline {
            sleep(LOOK_AGAIN).await;
        }
        // Whatever it has still to write, it writes now.
        drop(self.running);
        access_log::check(&records, sessions)
    }

    fn processes(&self) -> &[Pid] {
        match &self.running {
            Running::Process(process) => process.tree(),
            Running::Rules { .. } | Running::Nothing => &[],
        }
    }
}

fn start_process(peer: &Peer, site: &Site, transport: Transport, cpu: usize) -> io::Result<Process> {
    let log = File::create(site.log_file())?;
    Process::start(&mut peer.command(site, transport, cpu)?, log)
}

async fn wait_until_it_serves(
    process: &mut Process,
    ready: Ready,
    site: &Site,
    transport: Transport,
) -> Result<(), Failure> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if let Some(status) = process.ended()? {
            return Err(Failure::Start(status.to_string()));
        }
        let serves = match ready {
            Ready::Readyz => readiness::readyz(site.admin).await.unwrap_or(false),
            Ready::Listening { processes } => {
                readiness::is_listening(site.listen, transport)? && process.count()? == processes
            }
            Ready::Direct | Ready::Dnat => true,
        };
        if serves {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::Start("does not serve".into()));
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn with_log(failure: &Failure, site: &Site) -> Failure {
    let log = fs::read_to_string(site.log_file()).unwrap_or_default();
    let last = log.lines().rev().take(3).collect::<Vec<_>>().join(" <- ");
    Failure::Start(format!("did not start: {failure}; the end of its log, last line first: {last}"))
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
