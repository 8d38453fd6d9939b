//! Who is measured: one entry a peer, each configured at its best. One configuration serves every case, as it would in
//! production.

mod envoy;
mod evenkeel;
mod haproxy;
pub(crate) mod limit;
mod nginx;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use self::evenkeel::before;
use crate::failure::Failure;

/// Sessions that every peer is told to expect: twice as many descriptors, pipes and a reserve fit a limit of 20,000.
const MAX_CONNECTIONS: usize = 9_200;
/// Flows that every peer is told to expect.
const MAX_FLOWS: usize = 12_000;

/// A proxy that can be measured.
#[derive(Debug)]
pub(crate) struct Peer {
    /// As `--peer` takes it and the JSON file calls it.
    pub(crate) name: &'static str,
    /// For readers of the list.
    pub(crate) title: &'static str,
    /// What it takes part in when nobody asks for it by name.
    pub(crate) contest: Contest,
    program: PathBuf,
    /// How it is had when it is not there.
    remedy: &'static str,
    /// A file beside the program without which it cannot be measured.
    module: Option<&'static str>,
    version_flag: &'static str,
    config: fn(&Site) -> String,
    /// The configuration with which it forwards datagrams; absent if it cannot.
    datagrams: Option<fn(&Site) -> String>,
    arguments: fn(&Site) -> Vec<String>,
    pub(crate) ready: Ready,
}

/// What cases compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contest {
    /// One proxy with another.
    Proxies,
    /// One balancing policy with another.
    Policies,
    /// One proxy of datagrams with another.
    Datagrams,
    /// Nothing by itself.
    OnRequest,
}

/// What a proxy forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// How a started peer shows that it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ready {
    /// `GET /readyz` on [`Site::admin`] answers 200.
    Readyz,
    /// It listens, and its tree has this many processes.
    Listening { processes: usize },
    /// There is nothing to start.
    Direct,
    /// There is nothing to start but rules of the kernel's packet filter.
    Dnat,
}

/// Where one measurement takes place.
pub(crate) struct Site {
    /// A private directory.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) backends: Vec<SocketAddr>,
}

impl Site {
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// One formatted line for each backend.
    fn each_backend(&self, line: impl Fn(usize, &SocketAddr) -> String) -> String {
        self.backends.iter().enumerate().fold(String::new(), |mut lines, (index, addr)| {
            let _ = writeln!(lines, "{}", line(index, addr));
            lines
        })
    }
}

/// Every peer, in the order of the table. The first is the one that the others are compared with.
pub(crate) fn all() -> Vec<Peer> {
    let mut all = vec![evenkeel::this(), evenkeel::busy_polling()];
    all.extend(evenkeel::policies());
    all.extend(haproxy::peers());
    all.push(nginx::peer());
    all.push(envoy::peer());
    all.push(limit::direct());
    all.push(limit::dnat());
    all
}

/// The peer that the others are compared with.
pub(crate) const SUBJECT: &str = "evenkeel";

impl Peer {
    /// # Errors
    /// The program, or what it needs, is not there: says how to have it.
    pub(crate) fn check_installed(&self) -> Result<(), Failure> {
        let missing = |what: &str| {
            let Self { name, remedy, .. } = self;
            Failure::MissingPeer(format!("{name}: {what} not found: {remedy}, or leave it out (--peer)"))
        };
        if self.version().is_none() {
            return Err(missing(&text(&self.program)));
        }
        match self.module {
            Some(module) if !Path::new(module).exists() => Err(missing(module)),
            _ => Ok(()),
        }
    }

    /// The first line of what it says about itself, without the path that some begin with. `None`: it cannot be run.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(&self.program).arg(self.version_flag).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find(|line| !line.is_empty()).unwrap_or_default();
        Some(line.split_once("version: ").map_or(line, |(_, version)| version).to_owned())
    }

    /// Whether it is no proxy but a limit to all of them. What the kernel does for it is nobody's CPU time.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self.ready, Ready::Direct | Ready::Dnat)
    }

    /// Whether it takes part in this contest.
    pub(crate) fn enters(&self, contest: Contest) -> bool {
        match contest {
            Contest::Datagrams => self.contest == Contest::Proxies && self.datagrams.is_some(),
            Contest::Proxies | Contest::Policies | Contest::OnRequest => self.contest == contest,
        }
    }

    /// Writes its configuration and says how to start it on `cpu`.
    ///
    /// It dies with this process: SIGTERM, because nginx's worker outlives a master that is killed.
    pub(crate) fn command(&self, site: &Site, transport: Transport, cpu: usize) -> std::io::Result<Command> {
        let config = match (transport, self.datagrams) {
            (Transport::Tcp, _) => self.config,
            (Transport::Udp, Some(datagrams)) => datagrams,
            (Transport::Udp, None) => return Err(std::io::ErrorKind::Unsupported.into()),
        };
        let config = config(site);
        std::fs::write(site.config_file(), &config)?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string(), "setpriv", "--pdeathsig", "TERM"]);
        command.arg(&self.program).args((self.arguments)(site));
        Ok(command)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
