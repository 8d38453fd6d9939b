//! What there is to know about a proxy that can be measured.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::{AccessLog, Site};
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
    /// The configuration with which it forwards datagrams, or why there is none.
    pub(super) datagrams: Result<fn(&Site) -> String, &'static str>,
    /// What it does when one side ends its stream.
    pub(super) half_close: HalfClose,
    pub(super) arguments: fn(&Site) -> Vec<String>,
    pub(crate) access_log: AccessLog,
    /// Where its access log is when it is on.
    pub(crate) records: fn(&Site) -> PathBuf,
    pub(crate) ready: Ready,
}

/// What cases compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contest {
    /// One proxy with another.
    Proxies,
    /// One balancing policy with another.
    Policies,
    /// One proxy that writes its access log with another.
    Logged,
    /// Nothing by itself.
    OnRequest,
}

/// What a proxy forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// What a load needs of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Tcp,
    /// TCP, and that one direction goes on when the other has ended.
    HalfClose,
    Udp,
}

/// What a proxy does when one side of a connection ends its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HalfClose {
    /// Passes the end on and goes on with the other direction.
    PassedOn,
    /// Ends both directions.
    EndsAll,
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
    /// The same peer with its access log on.
    pub(super) fn with_access_log(self, name: &'static str, title: &'static str) -> Self {
        let datagrams = Err("the record of a flow comes when the measurement is long over");
        Self { name, title, contest: Contest::Logged, datagrams, access_log: AccessLog::On, ..self }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

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

    /// Why it cannot do what a load needs; `None` if it can.
    pub(crate) fn cannot(&self, need: Need) -> Option<&'static str> {
        match need {
            Need::Tcp => None,
            Need::HalfClose => (self.half_close == HalfClose::EndsAll).then_some("ends both directions when one ends"),
            Need::Udp => self.datagrams.err(),
        }
    }

    /// Writes its configuration and says how to start it on `cpu`.
    ///
    /// It dies with this process: SIGTERM, because nginx's worker outlives a master that is killed.
    pub(crate) fn command(&self, site: &Site, transport: Transport, cpu: usize) -> io::Result<Command> {
        let config = match transport {
            Transport::Tcp => self.config,
            Transport::Udp => self.datagrams.map_err(io::Error::other)?,
        };
        std::fs::write(site.config_file(), config(site))?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string(), "setpriv", "--pdeathsig", "TERM"]);
        command.arg(&self.program).args((self.arguments)(site));
        Ok(command)
    }
}

/// A program that `scripts/setup.sh --bench` puts below a directory of its own; `None` if it is not there.
pub(super) fn from_cache(program: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("evenkeel").join(program)).filter(|program| program.exists())
}

pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
