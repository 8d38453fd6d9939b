//! What there is to know about a proxy that can be measured.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::Site;
use crate::outcome::Failure;

/// Sessions that every peer is told to expect: twice as many descriptors, pipes and a reserve fit a limit of 20,000.
pub(super) const MAX_CONNECTIONS: usize = 9_200;
/// Flows that every peer is told to expect.
pub(super) const MAX_FLOWS: usize = 12_000;

/// A proxy that can be measured.
#[derive(Debug)]
pub(crate) struct Peer {
    /// As `--peer` takes it and the JSON file calls it.
    pub(crate) name: &'static str,
    /// For readers of the list.
    pub(crate) title: &'static str,
    /// What it takes part in when nobody asks for it by name.
    pub(crate) contest: Contest,
    pub(super) program: PathBuf,
    /// How it is had when it is not there.
    pub(super) remedy: &'static str,
    /// A file beside the program without which it cannot be measured.
    pub(super) module: Option<&'static str>,
    pub(super) version_flag: &'static str,
    pub(super) config: fn(&Site) -> String,
    /// The configuration with which it forwards datagrams; absent if it cannot.
    pub(super) datagrams: Option<fn(&Site) -> String>,
    pub(super) arguments: fn(&Site) -> Vec<String>,
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

impl Contest {
    /// The peer that the others are measured between, unless another one is asked for: one that does not change from one
    /// version of evenkeel to the next.
    pub(crate) fn reference(self) -> &'static str {
        match self {
            Self::Proxies | Self::Datagrams | Self::OnRequest => "nginx",
            Self::Policies => "round-robin",
        }
    }
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

    pub(crate) fn forwards(&self, transport: Transport) -> bool {
        transport == Transport::Tcp || self.datagrams.is_some()
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
    pub(crate) fn command(&self, site: &Site, transport: Transport, cpu: usize) -> io::Result<Command> {
        let config = match (transport, self.datagrams) {
            (Transport::Tcp, _) => self.config,
            (Transport::Udp, Some(datagrams)) => datagrams,
            (Transport::Udp, None) => return Err(io::ErrorKind::Unsupported.into()),
        };
        std::fs::write(site.config_file(), config(site))?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string(), "setpriv", "--pdeathsig", "TERM"]);
        command.arg(&self.program).args((self.arguments)(site));
        Ok(command)
    }
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
