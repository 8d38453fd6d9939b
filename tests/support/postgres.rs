//! A PostgreSQL cluster of its own: private directory, private port, gone when dropped.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use super::port::free_port;
use super::program;
use super::wait::{SOON, wait_until};

/// The account that Debian's package makes; PostgreSQL refuses to run as root.
const ACCOUNT: &str = "postgres";

/// A running cluster that listens on 127.0.0.1 and 127.0.0.2.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    port: u16,
    binaries: PathBuf,
    directory: TempDir,
}

impl Postgres {
    /// Makes a cluster, starts it and waits until it takes connections.
    pub fn start() -> Self {
        let binaries = find_binaries();
        let directory = tempfile::tempdir().expect("a temporary directory");
        if let Some((uid, gid)) = other_account() {
            chown(directory.path(), Some(uid), Some(gid)).expect("root may give files away");
        }
        let data = directory.path().join("data");
        let made = server_command(&binaries.join("initdb"), directory.path())
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

        let port = free_port();
        let child = server_command(&binaries.join("postgres"), directory.path())
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-k"])
            .arg(directory.path())
            .args(["-c", "listen_addresses=127.0.0.1,127.0.0.2"])
            .args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=64"])
            .stderr(fs::File::create(directory.path().join("log")).expect("our own directory"))
            .spawn()
            .expect("postgres starts");
        let cluster = Self { child, port, binaries, directory };
        wait_until("PostgreSQL takes connections", SOON, || {
            cluster.client("psql", cluster.addr()).args(["-c", "select 1"]).output().is_ok_and(|it| it.status.success())
        });
        cluster
    }

    /// Its first address.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Its second address: the same cluster, another backend.
    pub fn second_addr(&self) -> SocketAddr {
        ([127, 0, 0, 2], self.port).into()
    }

    /// A client program pointed at `addr`.
    pub fn client(&self, program: &str, addr: SocketAddr) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command
            .args(["-h", &addr.ip().to_string(), "-p", &addr.port().to_string(), "-U", "postgres"])
            .env("PGDATABASE", "postgres")
            .env("PGCONNECT_TIMEOUT", "10")
            .env("PGSSLMODE", "disable")
            .stdin(Stdio::null());
        command
    }

    /// What `sql` answers, straight from the cluster: rows by line, columns by `|`.
    #[track_caller]
    pub fn query(&self, sql: &str) -> String {
        run(self.client("psql", self.addr()).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]))
            .trim()
            .to_owned()
    }

    /// A directory that lives as long as the cluster.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown: the postmaster takes its children along. It fails if it has ended already, and a panic here
        // would hide the one that tells why.
        let _signalled = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        let _status = self.child.wait();
    }
}

/// Runs a client program to its end and returns what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Debian keeps them out of PATH, one directory a major version.
fn find_binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let initdb = program::find("initdb", "postgresql", versions.map(|version| version.path().join("bin")));
    let directory = initdb.parent().expect("a file is in a directory").to_owned();
    program::find("pgbench", "postgresql", [directory.clone()]);
    directory
}

fn server_command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((uid, gid)) = other_account() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Whom to run as: nobody else unless we are root.
fn other_account() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").expect("every system has one");
    let line = accounts.lines().find(|line| line.split(':').next() == Some(ACCOUNT));
    let fields: Vec<&str> = line.expect("the package postgresql makes its account").split(':').collect();
    Some((fields[2].parse().expect("a uid"), fields[3].parse().expect("a gid")))
}
