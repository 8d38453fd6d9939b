//! What `check` accepts, `run` accepts, and what it refuses, `run` refuses in the same words.

mod support;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use evenkeel::app;
use evenkeel::config::{BackendAddr, BindAddr, Config};
use rustix::process::{Pid, Signal, kill_process};
use support::port::free_port;
use support::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// A listener and its pool, complete but for the head of the file. `A`, `B` and `C` stand for free ports and `DIR` for a
/// directory.
const REST: &str = "[listeners.a]\nbind = [\"127.0.0.1:A\"]\npool = \"p\"\n[pools.p]\nbackends = [\"127.0.0.1:9\"]\n";

/// Odd and valid: what stands before [`REST`].
const ODD_HEADS: &[&str] = &[
    "",
    "# comments alone\r\n\r\n",
    "log = \" warn ,\\tevenkeel::access=off \"\n",
    "log = \"OFF\"\n",
    "workers = 0x5\n",
    "workers = 1\nmax_connections = 1\n",
    "shutdown_timeout = \"23h 59m\"\n",
    "admin.http = \"127.0.0.2:B\"\n",
    "[admin]\n",
    "[admin]\nsocket = \"DIR/admin.sock\"\nhttp = \"[::1]:A\"\n",
    "[listeners.\"9.b:c_d-\"]\nbind = [\"unix:DIR/front.sock\", \"[::1]:B\"]\npool = \"p\"\nidle_timeout = \"365d\"\n",
    "[listeners.everything]\nbind = [\"0.0.0.0:A\", \"[::]:A\"]\npool = \"p\"\nmax_connections = 1\n",
    "[listeners.b]\nbind = [\"[::]:B\", \"0.0.0.0:C\"]\npool = \"p\"\n[admin]\nhttp = \"127.0.0.1:B\"\n",
    "[pools.p.health_check]\n[pools.unused]\nbackends = [{ address = \"localhost:9\", weight = 0 }]\n",
    "[pools.q]\nbackends = [{ address = \"unix:DIR/absent.sock\", backup = true }]\non_down = \"close\"\n",
    "[pools.q]\nbackends = [\"localhost:9\", \"LOCALHOST:9\", \"[::ffff:127.0.0.1]:9\"]\nconnect_attempts = 65_535\n",
    "[pools.q]\npolicy = \"maglev\"\nbounded_load = 1\nhash_key = \"source-ip-port\"\n\
     backends = [{ address = \"127.0.0.1:9\", weight = 65_535 }, { address = \"127.0.0.1:9\", name = \"again\" }]\n",
    "[pools.q]\nbackends = [\"127.0.0.1:9\"]\n[pools.q.health_check]\ninterval = \"1ms\"\ntimeout = \"1ms\"\nfall = 65535\n",
];

/// Refused: what stands before [`REST`].
const BAD_HEADS: &[&str] = &[
    "workres = 2\n",
    "workers = 0\n",
    "log = \"inof\"\n",
    "log = \"info,.a=debug\"\n",
    "this is no TOML [\n",
    "max_connections = 4_000_000_000\n",
    "admin.http = \"0.0.0.0:B\"\n",
    "admin.http = \"127.0.0.1:A\"\n",
    "[listeners.b]\nbind = [\"0.0.0.0:B\"]\npool = \"p\"\n[admin]\nhttp = \"127.0.0.1:B\"\n",
    "[listeners.b]\nbind = [\"127.0.0.1:A\"]\npool = \"p\"\n",
    "[listeners.b]\nbind = [\"127.0.0.1:B\"]\npool = \"nowhere\"\n",
    "[pools.q]\nbackends = [\"http://127.0.0.1:9\", 127.0.0.1:9]\nconnect_timeout = \"0s\"\n",
];

#[test]
fn every_example_runs() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let files = fs::read_dir(conf).expect("conf/ is there").map(|entry| entry.expect("is readable").path());
    let mut found = 0;
    for path in files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text = fs::read_to_string(&path).expect("is readable");
        assert_runs(&directory, &at_home(&text, directory.path()));
        found += 1;
    }
    assert!(found >= 3, "only {found} examples");
}

#[test]
fn what_check_accepts_run_accepts() {
    for head in ODD_HEADS {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert_runs(&directory, &with_addresses(head, &directory));
    }
}

#[test]
fn what_check_refuses_run_refuses_in_the_same_words() {
    for head in BAD_HEADS {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let text = with_addresses(head, &directory);
        assert_refused(&write(&directory, text.as_bytes()), &text);
    }
}

#[test]
fn what_check_cannot_read_run_cannot_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_refused(&write(&directory, b"# one\n# \xff\n"), "bytes");
    assert_refused(directory.path(), "a directory");
    assert_refused(&directory.path().join("absent.toml"), "nothing");
    let huge = directory.path().join("huge.toml");
    fs::File::create(&huge).and_then(|file| file.set_len(64 * 1024 * 1024 + 1)).expect("a file with a hole");
    assert_refused(&huge, "64 MiB and a byte");
}

/// A process that ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended in good order.
        let _killed = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Asserts that the text is valid and that the program becomes ready with it.
#[track_caller]
fn assert_runs(directory: &TempDir, text: &str) {
    let file = write(directory, text.as_bytes());
    let check = evenkeel("check", &file).output().expect("the program runs");
    assert!(check.status.success(), "{text}{}", String::from_utf8_lossy(&check.stdout));

    // What systemd listens to is there in every configuration, whatever it says of logs and the admin side.
    let socket = directory.path().join("notify");
    let notified = UnixDatagram::bind(&socket).expect("our own directory");
    notified.set_nonblocking(true).expect("a socket");
    let mut command = evenkeel("run", &file);
    let log = fs::File::create(directory.path().join("log")).expect("our own directory");
    command.env("NOTIFY_SOCKET", &socket).stdout(Stdio::null()).stderr(log);
    let mut running = Running(command.spawn().expect("the program runs"));
    let child = &mut running.0;
    wait_until("the balancer is ready", SOON, || {
        if let Some(status) = child.try_wait().expect("our own child") {
            let said = fs::read_to_string(directory.path().join("log")).expect("text");
            panic!("it ended with {status}: {said}{text}");
        }
        let mut message = [0; 256];
        notified.recv(&mut message).is_ok_and(|count| message[..count].starts_with(b"READY=1"))
    });
    kill_process(Pid::from_child(child), Signal::TERM).expect("it runs");
    let status = wait_for("it stops", SOON, || child.try_wait().expect("our own child"));
    assert_eq!(status.code(), Some(0), "{text}");
}

/// Asserts that `check` and `run` say the same of what is wrong.
#[track_caller]
fn assert_refused(file: &Path, what: &str) {
    let output = |subcommand| -> Output { evenkeel(subcommand, file).output().expect("the program runs") };
    let (check, run) = (output("check"), output("run"));
    assert_eq!((check.status.code(), run.status.code()), (Some(1), Some(1)), "{what}");
    let (checked, said) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&run.stderr));
    let said = said.trim_end();
    assert!(said.starts_with("error: "), "{said}");
    let verdict = checked.strip_prefix(said).unwrap_or_else(|| panic!("{checked}\nis not\n{said}"));
    let verdict = verdict.trim();
    assert!(verdict.is_empty() || verdict.contains(" is not valid: "), "{verdict}");
}

fn evenkeel(subcommand: &str, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args([subcommand, "-c"]).arg(file).stdin(Stdio::null()).env_remove("EVENKEEL_LOG");
    command
}

fn write(directory: &TempDir, bytes: &[u8]) -> PathBuf {
    let file = directory.path().join("evenkeel.toml");
    fs::write(&file, bytes).expect("our own directory");
    file
}

/// The whole file with addresses of this moment.
fn with_addresses(head: &str, directory: &TempDir) -> String {
    let text = format!("{head}{REST}").replace("DIR", &directory.path().display().to_string());
    ["A", "B", "C"]
        .iter()
        .fold(text, |text, letter| text.replace(&format!(":{letter}\""), &format!(":{}\"", free_port())))
}

/// An example with free ports in place of its own, paths in `directory`, and names that resolve everywhere.
fn at_home(text: &str, directory: &Path) -> String {
    let config = Config::parse("example", text, &app::machine()).unwrap_or_else(|errors| panic!("{errors}"));
    let binds = config.listeners.values().flat_map(|listener| &listener.bind).cloned();
    let admin = config.admin.http.map(BindAddr::Tcp).into_iter();
    let admin = admin.chain(config.admin.socket.clone().map(BindAddr::Unix));
    let text = binds.chain(admin).fold(text.to_owned(), |text, bind| match bind {
        BindAddr::Tcp(addr) | BindAddr::Udp(addr) => {
            let mut moved = addr;
            moved.set_port(free_port());
            text.replace(&format!("\"{addr}\""), &format!("\"{moved}\""))
        }
        BindAddr::Unix(path) => {
            let name = path.file_name().expect("a socket has a name");
            text.replace(&path.display().to_string(), &directory.join(name).display().to_string())
        }
    });
    let backends = config.pools.values().flat_map(|pool| &pool.backends);
    backends.fold(text, |text, backend| match &backend.address {
        name @ BackendAddr::Name { .. } => text.replace(&name.to_string(), &format!("localhost:{}", free_port())),
        BackendAddr::Inet(_) | BackendAddr::Unix(_) => text,
    })
}
