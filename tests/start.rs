//! The first moments: a signal is never lost and never kills, and nobody waits for somebody else's pool.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::blackhole::Blackhole;
use support::config::Config;
use support::port::free_addr;
use support::process::Process;
use support::socket::{assert_echo, connect};
use support::wait::{SOON, wait_for, wait_until};

/// Processes that are signalled as soon as they can be.
const STARTS: u32 = 10;

#[test]
fn a_signal_that_was_there_before_the_process_is_kept() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
    let balancer = Balancer::start_with(&config, |command| pending("HUP", command));
    wait_until("the reload is done", SOON, || reloads(&balancer) == 1.0);
    assert_echo(&mut greeted(front).0);
    balancer.reload_done(&config);

    let mut ended = Balancer::spawn(&config, |command| pending("TERM", command));
    assert_eq!(ended.wait_exit(SOON).code(), Some(0), "{}", ended.log.text());
}

#[test]
fn no_signal_kills_once_the_handlers_are_there() {
    for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
        for _ in 0..STARTS {
            let config = Config::new().listener("main", free_addr(), "main", "");
            let mut balancer = Balancer::spawn(&config.pool("main", &[free_addr()], ""), |_| {});
            wait_until("signals are caught", SOON, || catches_signals(balancer.process));
            balancer.process.signal(signal);
            if signal == Signal::HUP {
                wait_until("the balancer is ready", SOON, || balancer.is_ready());
                balancer.process.signal(Signal::TERM);
            }
            assert_eq!(balancer.wait_exit(SOON).code(), Some(0), "{signal:?}: {}", balancer.log.text());
        }
    }
}

#[test]
fn a_file_that_hangs_at_the_start_does_not_hold_up_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let fifo = directory.path().join("evenkeel.toml");
    make_fifo(&fifo);
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    let mut child = command.args(["run", "-c"]).arg(&fifo).spawn().expect("the binary under test starts");
    let process = Process::new(child.id());
    wait_until("signals are caught", SOON, || catches_signals(process));
    process.signal(Signal::HUP);
    process.signal(Signal::TERM);
    let status = wait_for("it ends", SOON, || child.try_wait().expect("our own child"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn what_is_no_service_dies_of_signals_as_usual() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let fifo = directory.path().join("evenkeel.toml");
    make_fifo(&fifo);
    for signal in [Signal::HUP, Signal::TERM, Signal::INT] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        let mut child = command.args(["check", "-c"]).arg(&fifo).spawn().expect("the binary under test starts");
        Process::new(child.id()).signal(signal);
        let status = wait_for("it ends", SOON, || child.try_wait().expect("our own child"));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(signal.as_raw()));
    }
}

#[test]
fn a_pool_whose_probes_hang_holds_up_its_own_listeners_alone() {
    let (front, hung, added, back, hole) =
        (free_addr(), free_addr(), free_addr(), Backend::start(Behaviour::Greet), Blackhole::new());
    let config = || {
        let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
        let config = config.health_check("main", 100, 100).listener("hung", hung, "hung", "");
        config.pool("hung", &[hole.addr()], "").health_check("hung", 60_000, 60_000)
    };
    let mut balancer = Balancer::spawn(&config(), |_| {});
    wait_until("the admin address answers", SOON, || balancer.answers());
    wait_until("the backend is up", SOON, || up(&balancer, back.addr()));
    assert_echo(&mut greeted(front).0);
    // The kernel takes it; nobody has looked at it yet.
    let _waiting = connect(hung);
    balancer.reload_done(&config().listener("added", added, "main", ""));
    assert_echo(&mut greeted(added).0);
    assert!(!balancer.is_ready(), "ready is when all listeners serve");
    assert_eq!(balancer.metrics().sum("evenkeel_listener_sessions_total", &[("listener", "hung")]), 0.0);

    let told = Instant::now();
    balancer.process.signal(Signal::TERM);
    assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(2), "it stopped after {:?}", told.elapsed());
}

#[test]
fn a_listener_opens_when_its_own_probes_have_had_their_time() {
    let (front, hole) = (free_addr(), Blackhole::new());
    let config = Config::new().listener("main", front, "main", "").pool("main", &[hole.addr()], "");
    let balancer = Balancer::spawn(&config.health_check("main", 1_000, 1_000), |_| {});
    wait_until("the balancer is ready", SOON, || balancer.is_ready());
    assert!(!up(&balancer, hole.addr()));
}

#[test]
fn a_file_that_hangs_at_a_reload_holds_up_nothing_and_the_newest_one_wins() {
    let (front, added, mut back) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let config = || {
        let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
        config.health_check("main", 100, 100)
    };
    let newest = config().listener("added", added, "main", "");
    let mut balancer = Balancer::start(&config());
    wait_until("the backend is up", SOON, || up(&balancer, back.addr()));
    let fifo = balancer.directory().join("fifo");
    make_fifo(&fifo);
    fs::hard_link(&fifo, balancer.file().with_extension("fifo")).expect("our own directory");
    fs::rename(balancer.file().with_extension("fifo"), balancer.file()).expect("our own directory");
    balancer.process.signal(Signal::HUP);
    let mut writer = wait_for("the reload reads", SOON, || writer_of_a_read(&fifo));
    for _ in 0..3 {
        balancer.process.signal(Signal::HUP);
    }
    back.kill();
    wait_until("a verdict is heeded meanwhile", SOON, || !up(&balancer, back.addr()));
    back.revive();
    wait_until("and another", SOON, || up(&balancer, back.addr()));
    assert_eq!(reloads(&balancer), 0.0);

    balancer.write(&newest);
    writer.write_all(b"nonsense [").expect("somebody reads");
    drop(writer);
    let metrics = |result| balancer.metrics().sum("evenkeel_reloads_total", &[("result", result)]);
    wait_until("what was read first is refused, and the newest is in force", SOON, || {
        (metrics("refused"), metrics("done")) == (1.0, 1.0)
    });
    assert_echo(&mut greeted(added).0);

    // And once more, with nobody who ever writes.
    make_fifo(&balancer.directory().join("silent"));
    fs::rename(balancer.directory().join("silent"), balancer.file()).expect("our own directory");
    balancer.process.signal(Signal::HUP);
    let told = Instant::now();
    balancer.process.signal(Signal::TERM);
    assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(2), "it stopped after {:?}", told.elapsed());
}

/// Has the program start with this signal pending: blocked, sent, and never delivered so far.
fn pending(signal: &str, command: &mut Command) {
    let mut shell = Command::new("env");
    shell.arg(format!("--block-signal={signal}")).args(["sh", "-c", &format!("kill -{signal} $$; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program());
    *command = shell;
}

/// Whether the process has handlers for all of its signals.
fn catches_signals(process: Process) -> bool {
    const HANDLED: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];
    let caught = process.caught_signals();
    HANDLED.iter().all(|signal| caught & 1 << (signal.as_raw() - 1) != 0)
}

/// The other end of a FIFO, once somebody reads there.
fn writer_of_a_read(fifo: &Path) -> Option<File> {
    rustix::fs::open(fifo, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok().map(File::from)
}

fn make_fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().expect("mkfifo of coreutils runs");
    assert!(status.success(), "mkfifo: {status}");
}

#[track_caller]
fn up(balancer: &Balancer, backend: SocketAddr) -> bool {
    balancer.metrics().value("evenkeel_backend_up", &[("backend", &backend.to_string())]) == 1.0
}

#[track_caller]
fn reloads(balancer: &Balancer) -> f64 {
    balancer.metrics().sum("evenkeel_reloads_total", &[])
}
