//! The program under test: started from a file, told by signals, watched from outside.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::config::Config;
use super::log::{self, Log};
use super::metrics::{HttpClient, Metrics};
use super::port::free_addr;
use super::process::{Descriptors, Process, TcpState};
use super::wait::{SOON, wait_for, wait_until};

/// A running `evenkeel run`, killed when dropped; its log is shown when the test fails.
#[derive(Debug)]
pub struct Balancer {
    child: Child,
    admin: SocketAddr,
    file: PathBuf,
    /// What happened, as it wrote it down.
    pub log: Log,
    /// It, as the kernel sees it.
    pub process: Process,
    /// Owns the files for as long as the process lives.
    directory: TempDir,
}

/// What became of a SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// The new file is in force.
    Done {
        /// What the log says that changed.
        changes: String,
    },
    /// The old one stays.
    Refused {
        /// What the log says is wrong.
        error: String,
    },
}

impl Balancer {
    /// Starts with `config` and returns once it is ready.
    #[track_caller]
    pub fn start(config: &Config) -> Self {
        Self::start_with(config, |_| {})
    }

    /// As [`Balancer::start`], where no more than `descriptors` may be open.
    #[track_caller]
    pub fn start_limited(config: &Config, descriptors: u32) -> Self {
        Self::start_with(config, |command| {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--nofile={descriptors}:{descriptors}")).arg(command.get_program());
            *command = limited;
        })
    }

    /// As [`Balancer::start`], with the command prepared further: an environment, a program around it.
    #[track_caller]
    pub fn start_with(config: &Config, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut balancer = Self::spawn(config, prepare);
        wait_until("the balancer is ready", SOON, || {
            if let Some(status) = balancer.child.try_wait().expect("our own child") {
                panic!("the balancer ended with {status} instead of becoming ready");
            }
            balancer.is_ready()
        });
        balancer
    }

    /// Starts with `config` and returns at once: for what is not expected to become ready.
    pub fn spawn(config: &Config, prepare: impl FnOnce(&mut Command)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("evenkeel.toml");
        let log = directory.path().join("log");
        let admin = free_addr();
        write_atomically(&file, &with_admin(config, admin));

        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        prepare(&mut command);
        let child = command
            .args(["run", "-c"])
            .arg(&file)
            .args(["--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("our own directory"))
            .spawn()
            .expect("the binary under test starts");
        let process = Process::new(child.id());
        Self { child, admin, file, log: Log::new(log), process, directory }
    }

    /// The address of the admin HTTP.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where the configuration is read from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A directory that lives as long as the balancer, for sockets.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether the admin address answers, be it ready or not.
    pub fn answers(&self) -> bool {
        HttpClient::connect(self.admin).and_then(|mut client| client.get("/livez")).is_ok()
    }

    /// Whether `/readyz` says so.
    pub fn is_ready(&self) -> bool {
        HttpClient::connect(self.admin).and_then(|mut client| client.get("/readyz")).is_ok_and(|it| it.status == 200)
    }

    /// One scrape.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let response = HttpClient::connect(self.admin).and_then(|mut client| client.get("/metrics"));
        let response = response.expect("the admin address answers");
        assert_eq!(response.status, 200, "{}", response.body);
        Metrics::parse(&response.body)
    }

    /// Sessions now open, over all listeners.
    #[track_caller]
    pub fn active_sessions(&self) -> f64 {
        self.metrics().sum("evenkeel_listener_sessions_active", &[])
    }

    /// Waits until no session is open, neither in the listeners' counts nor in the backends'.
    #[track_caller]
    pub fn wait_idle(&self, deadline: Duration) {
        wait_until("no session is open", deadline, || {
            let metrics = self.metrics();
            ["evenkeel_listener_sessions_active", "evenkeel_backend_sessions_active", "evenkeel_worker_sessions_active"]
                .iter()
                .all(|gauge| metrics.sum(gauge, &[]) == 0.0)
        });
    }

    /// The open descriptors once no connection of a scrape is among them any more.
    #[track_caller]
    pub fn settled_descriptors(&self) -> Descriptors {
        wait_until("no scrape is open", SOON, || {
            self.process.sockets_in(TcpState::Established, Some(self.admin)) == 0
                && self.process.sockets_in(TcpState::CloseWait, None) == 0
        });
        self.process.descriptors()
    }

    /// Waits until no socket of the process has been ended by its peer and left open.
    ///
    /// Waits, because the connections of scrapes are among them for a moment.
    #[track_caller]
    pub fn wait_no_close_wait(&self) {
        wait_until("no socket is in CLOSE-WAIT", SOON, || self.process.sockets_in(TcpState::CloseWait, None) == 0);
    }

    /// Writes `config`, sends SIGHUP and waits for the outcome.
    #[track_caller]
    pub fn reload(&self, config: &Config) -> Reload {
        self.reload_text(&with_admin(config, self.admin))
    }

    /// As [`Balancer::reload`], for a file that may be nonsense.
    #[track_caller]
    pub fn reload_text(&self, text: &str) -> Reload {
        let before = self.metrics();
        write_atomically(&self.file, text);
        self.process.signal(Signal::HUP);
        self.outcome_since(&before)
    }

    /// As [`Balancer::reload`], and it must succeed; returns what changed.
    #[track_caller]
    pub fn reload_done(&self, config: &Config) -> String {
        match self.reload(config) {
            Reload::Done { changes } => changes,
            Reload::Refused { error } => panic!("the reload was refused: {error}"),
        }
    }

    /// Writes `config` without telling the process.
    pub fn write(&self, config: &Config) {
        write_atomically(&self.file, &with_admin(config, self.admin));
    }

    /// Waits for the outcome of the one reload that was asked for since the scrape `before`.
    #[track_caller]
    pub fn outcome_since(&self, before: &Metrics) -> Reload {
        let reloads = |metrics: &Metrics, result| metrics.sum("evenkeel_reloads_total", &[("result", result)]);
        let (done, refused) = (reloads(before, "done"), reloads(before, "refused"));
        let message = wait_for("the reload has an outcome", SOON, || {
            let now = self.metrics();
            let is_done = reloads(&now, "done") > done;
            is_done.then_some("reloaded").or((reloads(&now, "refused") > refused).then_some("reload refused"))
        });
        // The log has one record for each outcome and leaves through a queue, a moment after the counter.
        let earlier = if message == "reloaded" { done } else { refused };
        let record = wait_for("the log says what became of the reload", SOON, || {
            let events = self.log.events().into_iter();
            events.filter(|record| record.message().starts_with(message)).nth(whole(earlier))
        });
        match message {
            "reloaded" => Reload::Done { changes: record.text("changes").to_owned() },
            _ => Reload::Refused { error: record.text("error").to_owned() },
        }
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        wait_for("the balancer exits", deadline, || self.child.try_wait().expect("our own child"))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what some tests are about.
        let ended = self.child.try_wait().ok().flatten();
        let _killed = self.child.kill();
        let _status = self.child.wait();
        let crashed = ended.and_then(|status| status.signal());
        if thread::panicking() {
            eprintln!("--- the balancer (ended by signal {crashed:?}) wrote ---");
            eprintln!("{}", shortened(&self.log.text()));
        }
    }
}

/// The file, with the admin address that the harness reads from.
fn with_admin(config: &Config, admin: SocketAddr) -> String {
    format!("{}\n[admin]\nhttp = \"{admin}\"\n", config.text())
}

/// The process may read at any moment and must not see half a file.
fn write_atomically(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).expect("our own directory");
    fs::rename(&next, file).expect("our own directory");
}

/// The log with only the last records of sessions, which are many and mostly like each other.
fn shortened(text: &str) -> String {
    const SESSIONS: usize = 5;
    let (sessions, events): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains(log::ACCESS));
    let skipped = sessions.len().saturating_sub(SESSIONS);
    let shown: Vec<&str> = events.into_iter().chain(sessions.into_iter().skip(skipped)).collect();
    format!("{}\n--- and {skipped} records of sessions before these", shown.join("\n"))
}

/// A counter as an index.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters in tests are small and whole")]
fn whole(counter: f64) -> usize {
    counter as usize
}
