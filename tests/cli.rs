//! The command line as a user meets it: the program is run, and its output, exit code and sockets are looked at.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far above anything expected on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

const README: &str = include_str!("../README.md");

fn evenkeel(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program runs")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(arguments).stdin(Stdio::null()).env_remove("EVENKEEL_LOG");
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn exit_code(arguments: &[&str]) -> Option<i32> {
    evenkeel(arguments).status.code()
}

/// A configuration for a listener on `bind`, with a backend that nobody needs to be.
fn configuration(bind: SocketAddr) -> String {
    format!(
        "[listeners.web]\nbind = [\"{bind}\"]\nprotocol = \"tcp\"\npool = \"web\"\n\n\
         [pools.web]\npolicy = \"round-robin\"\nbackends = [\"127.0.0.1:9\"]\n"
    )
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("a temporary file");
    path.into_os_string().into_string().expect("a path in UTF-8")
}

#[test]
fn every_help_shows_an_example() {
    for subcommand in ["run", "check", "schema", "demo", "simulate"] {
        let help = stdout(&evenkeel(&[subcommand, "--help"]));
        let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("no example in {help}"));
        assert!(examples.contains(&format!("evenkeel {subcommand} ")), "{help}");
        assert!(help.contains("Exit codes: 0 "), "{help}");
    }
    let help = stdout(&evenkeel(&["--help"]));
    assert!(help.contains("Examples:\n  evenkeel demo") && help.contains("Exit codes:"), "{help}");
}

#[test]
fn the_version_names_the_commit() {
    let output = evenkeel(&["--version"]);
    assert!(output.status.success());
    let version = stdout(&output);
    let version = version.trim_end();
    assert_eq!(version, format!("evenkeel {}", evenkeel::VERSION));
    let release = format!("evenkeel {} (", env!("CARGO_PKG_VERSION"));
    let commit = version.strip_prefix(&release).and_then(|rest| rest.strip_suffix(')')).expect("RELEASE (COMMIT)");
    let in_checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    let is_hash = commit.len() == 12 && commit.chars().all(|digit| digit.is_ascii_hexdigit());
    assert!(is_hash || (!in_checkout && commit == "unknown"), "{version}");
}

#[test]
fn arguments_that_make_no_sense_exit_with_2() {
    for arguments in [
        &[][..],
        &["fly"],
        &["run"],
        &["check"],
        &["-t"],
        &["-c", "evenkeel.toml"],
        &["-t", "-c", "evenkeel.toml", "demo"],
        &["run", "-c", "evenkeel.toml", "--log-format", "xml"],
        &["schema", "evenkeel.toml"],
        &["demo", "--seconds", "0"],
        &["simulate"],
        &["simulate", "--listen", "nowhere"],
        &["simulate", "--listen", "127.0.0.1:0", "--failure-rate", "2"],
        &["simulate", "--listen", "127.0.0.1:0", "--latency", "2 days"],
        &["simulate", "--listen", "127.0.0.1:0", "--max-connections", "0"],
        &["simulate", "--listen", "127.0.0.1:0", "--protocol", "udp", "--greeting", "x"],
    ] {
        assert_eq!(exit_code(arguments), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_is_missing_or_wrong_in_the_arguments_is_told() {
    for (arguments, hints) in [
        (&["-c", "a.toml"][..], &["run -c a.toml", "check -c a.toml", "-t -c a.toml"][..]),
        (&["-t"], &["--config <FILE>"]),
        (&["simulate", "--listen", "localhost:9000"], &["localhost:9000", "IP:PORT", "127.0.0.1:9001"]),
    ] {
        let output = evenkeel(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(hints.iter().all(|hint| said.contains(hint)), "{said}");
    }
}

#[test]
fn a_check_that_nobody_reads_still_answers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let valid = configuration(SocketAddr::from(([127, 0, 0, 1], 5432)));
    for (text, code) in [(valid.as_str(), 0), ("?", 1)] {
        let file = write(directory.path(), "evenkeel.toml", text);
        let (reader, writer) = io::pipe().expect("two descriptors");
        drop(reader);
        let output = command(&["check", "-c", &file]).stdout(writer).output().expect("the program runs");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn minus_t_answers_as_check_does() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let address = SocketAddr::from(([127, 0, 0, 1], 5432));
    let valid = write(directory.path(), "valid.toml", &configuration(address));
    let invalid =
        write(directory.path(), "invalid.toml", &configuration(address).replace("pool = \"web\"", "pool = \"bad\""));
    for (file, code) in [(&valid, 0), (&invalid, 1)] {
        let check = evenkeel(&["check", "-c", file]);
        let short = evenkeel(&["-t", "-c", file]);
        assert_eq!(check.status.code(), Some(code), "{check:?}");
        assert_eq!(short, check);
        let check = evenkeel(&["check", "-c", file, "--format", "json"]);
        assert!(check.stdout.starts_with(b"{"), "{check:?}");
        assert_eq!(evenkeel(&["-t", "-c", file, "--format", "json"]), check);
    }
}

#[test]
fn the_configurations_of_the_readme_are_valid() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let configurations: Vec<_> =
        README.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!configurations.is_empty());
    for text in configurations {
        let file = write(directory.path(), "readme.toml", text);
        let output = evenkeel(&["check", "-c", &file]);
        assert_eq!(output.status.code(), Some(0), "{text}{output:?}");
    }
}

#[test]
fn run_tells_a_bad_configuration_from_a_start_that_failed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let text = configuration(taken.local_addr().expect("bound"));
    let occupied = write(directory.path(), "occupied.toml", &text);
    let invalid = write(directory.path(), "invalid.toml", &format!("workres = 2\n{text}"));
    let absent = directory.path().join("absent.toml");
    for (file, code) in [(invalid.as_str(), 1), (absent.to_str().expect("UTF-8"), 1), (&occupied, 3)] {
        let output = evenkeel(&["run", "-c", file]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(!output.stderr.is_empty(), "it says why");
    }
}

#[test]
fn a_bad_filter_in_the_environment_is_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = write(directory.path(), "valid.toml", &configuration(SocketAddr::from(([127, 0, 0, 1], 5432))));
    for arguments in [&["run", "-c", &file][..], &["demo", "--seconds", "1"]] {
        let output = command(arguments).env("EVENKEEL_LOG", "inof").output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(said.contains("EVENKEEL_LOG") && said.contains("did you mean `info`?"), "{said}");
    }
}

/// A running `evenkeel simulate`, killed when dropped.
struct Simulation {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    addrs: Vec<SocketAddr>,
}

impl Simulation {
    /// Starts it on a free port and with `options`; when it returns, the backends listen.
    fn start(options: &[&str]) -> Self {
        let mut command = command(&["simulate", "--listen", "127.0.0.1:0"]);
        let mut child = command.args(options).stdout(Stdio::piped()).spawn().expect("the program runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut addrs = Vec::new();
        let mut line = String::new();
        while !line.starts_with("stop:") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended before it listened");
            addrs.extend(line.strip_prefix("  ").and_then(|addr| addr.trim_end().parse::<SocketAddr>().ok()));
        }
        Self { child, output, addrs }
    }

    fn connect(&self) -> TcpStream {
        connect(self.addrs[0]).expect("it listens")
    }

    /// Interrupts it; gives its exit status and what it printed after the start.
    fn stop(mut self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let status = self.child.wait().expect("our child");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        (status, rest)
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Fails when the test has stopped it already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends `message`, ends our side and reads until the backend ends its own.
fn converse(mut stream: TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(message)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

#[test]
fn simulated_backends_echo_until_interrupted() {
    let simulation = Simulation::start(&["127.0.0.1:0", "--listen", "[::1]:0"]);
    assert_eq!(simulation.addrs.len(), 3);
    // Not a multiple of any buffer, and small enough for the socket buffers: nobody reads while we write.
    let message: Vec<u8> = (0..50_001_u32).map(|nth| (nth % 251) as u8).collect();
    for addr in &simulation.addrs {
        let answer = converse(connect(*addr).expect("it listens"), &message).expect("an orderly end");
        assert!(answer == message, "{addr} changed what it echoed");
    }
    let mut open = simulation.connect();
    open.write_all(b"x").expect("it reads");
    open.read_exact(&mut [0]).expect("it serves us before it is stopped");
    let (status, rest) = simulation.stop();
    assert_eq!(status.code(), Some(0));
    assert_eq!(rest.matches(" connections, 0 of them reset").count(), 3, "{rest}");
    assert_eq!(open.read(&mut [0]).expect_err("a reset").kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn simulated_backends_echo_datagrams_and_ignore_as_many_as_they_are_told_to() {
    let simulation = Simulation::start(&["127.0.0.1:0", "--protocol", "udp"]);
    assert_eq!(simulation.addrs.len(), 2);
    for addr in &simulation.addrs {
        let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client.send_to(b"hello", addr).expect("sent");
        let mut answer = [0; 16];
        assert_eq!(client.recv_from(&mut answer).expect("an answer"), (5, *addr));
        assert_eq!(&answer[..5], b"hello");
    }
    let (status, rest) = simulation.stop();
    assert_eq!(status.code(), Some(0));
    assert_eq!(rest.matches(": 1 datagrams, 0 of them ignored").count(), 2, "{rest}");

    let deaf = Simulation::start(&["--protocol", "udp", "--failure-rate", "1"]);
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.send_to(b"hello", deaf.addrs[0]).expect("sent");
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert_eq!(client.recv(&mut [0; 16]).expect_err("no answer").kind(), io::ErrorKind::WouldBlock);
    assert!(deaf.stop().1.contains(": 1 datagrams, 1 of them ignored"));
}

#[test]
fn a_simulated_backend_greets_and_is_as_slow_as_it_should() {
    let latency = Duration::from_millis(50);
    let simulation = Simulation::start(&["--latency", "50ms", "--greeting", "220 ready"]);
    let mut stream = simulation.connect();
    let mut greeting = [0; 10];
    stream.read_exact(&mut greeting).expect("it speaks first");
    assert_eq!(&greeting, b"220 ready\n");
    for _ in 0..3 {
        let sent = Instant::now();
        stream.write_all(b"ping").expect("it reads");
        stream.read_exact(&mut [0; 4]).expect("it answers");
        assert!(sent.elapsed() >= latency, "an answer after {:?}", sent.elapsed());
    }
}

/// What a reset looks like to the call that meets it: a read, a write, or the end of our own side.
const RESET: [io::ErrorKind; 3] =
    [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::NotConnected];

#[test]
fn a_simulated_backend_fails_the_same_share_again_with_the_same_seed() {
    const CONNECTIONS: usize = 200;
    let failures = |seed| -> Vec<bool> {
        let simulation = Simulation::start(&["--failure-rate", "0.3", "--seed", seed]);
        // The reset comes right after the accept, so whatever the client does next may be what meets it.
        let fails = |_| match connect(simulation.addrs[0]).and_then(|stream| converse(stream, b"hello")) {
            Ok(answer) => {
                assert_eq!(answer, b"hello");
                false
            }
            Err(error) => {
                assert!(RESET.contains(&error.kind()), "{error}");
                true
            }
        };
        (0..CONNECTIONS).map(fails).collect()
    };
    let first = failures("1");
    let failed = first.iter().filter(|failed| **failed).count();
    // Three in ten, give or take three standard deviations of 200 draws.
    assert!((41..=79).contains(&failed), "{failed} of {CONNECTIONS}");
    assert_eq!(failures("1"), first);
    assert_ne!(failures("2"), first);
}

#[test]
fn simulate_says_which_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    let output = evenkeel(&["simulate", "--listen", "127.0.0.1:0", &addr]);
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(error.contains(&addr), "{error}");
}

/// The number right before `words`.
#[track_caller]
fn number_before(text: &str, words: &str) -> u32 {
    let (before, _) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}"));
    before.split_whitespace().last().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{words:?}: {text}"))
}

#[test]
fn the_demo_ends_by_itself_and_shows_a_death_and_a_recovery() {
    // The mortal backend dies after 5 seconds, listens again after 8, and is up after two more probes.
    let output = evenkeel(&["demo", "--seconds", "11"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    let tables: Vec<&str> = text.split("\n\n").filter(|part| part.contains("\nbackend ")).collect();
    let cells = |table: &str, backend: &str| -> Vec<String> {
        let row = table.lines().find(|line| line.starts_with(backend));
        row.unwrap_or_else(|| panic!("{backend}: {text}")).split_whitespace().map(str::to_owned).collect()
    };
    let last = tables.last().expect("a table");
    for backend in ["steady-1", "steady-2", "slow", "mortal"] {
        let cells = cells(last, backend);
        assert_eq!(cells[2], "up", "{text}");
        assert_ne!(cells[4], "0", "{backend} got no session: {text}");
    }
    assert!(!last.contains("clients: 0 answers/s"), "{text}");
    assert!(last.contains("over UDP: ") && !last.contains("over UDP: 0 answers/s"), "{text}");
    // Of 16 clients over UDP, each may lose the message that the dead backend had, and one that it refused.
    let lost = text
        .lines()
        .find_map(|line| line.trim().split_once(" of ").filter(|(_, rest)| rest.ends_with("datagrams lost")));
    let lost: u32 = lost.and_then(|(lost, _)| lost.parse().ok()).unwrap_or_else(|| panic!("nothing on loss: {text}"));
    assert!(lost <= 32, "{text}");
    let sessions_while_dead = tables.iter().filter_map(|table| {
        let cells = cells(table, "mortal");
        (cells[2] == "DOWN").then(|| cells[4].parse().expect("a count"))
    });
    let sessions_while_dead: Vec<u32> = sessions_while_dead.collect();
    let at_death = *sessions_while_dead.first().unwrap_or_else(|| panic!("nobody died: {text}"));
    assert!(sessions_while_dead.iter().all(|count| *count == at_death), "{text}");
    assert!(cells(last, "mortal")[4].parse::<u32>().expect("a count") > at_death, "nobody came back to it: {text}");

    // Of 32 clients, those on the backend that died lose their connection, once. One that was at its first message
    // cannot tell that from a refusal.
    let (cut, refused) = (number_before(&text, " connections cut"), number_before(&text, " connections refused"));
    assert!(cut >= 1 && cut + refused <= 32 && refused <= cut, "{text}");
    assert_eq!((number_before(&text, " answers late"), number_before(&text, " wrong")), (0, 0), "{text}");
}

#[test]
fn the_demo_stops_cleanly_when_interrupted() {
    let mut command = command(&["demo"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program runs");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    while !text.contains("\nclients: ") {
        assert_ne!(output.read_line(&mut text).expect("text"), 0, "it ended before its first table: {text}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    output.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
    assert!(text.contains(" 0 failures:\n"), "{text}");
}
