//! What a reload of 10,000 backends does to clients meanwhile: `cargo bench --bench reload`.
//!
//! The real program, all of it on one CPU; clients and the backend on another. Windows in which SIGHUP changes the weights
//! of half of the backends twice a second take turns with windows without. Nothing is asserted.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

const BACKENDS: u32 = 10_000;
const POLICIES: [&str; 3] = ["round-robin", "least-connections", "maglev"];
const ROUNDS: usize = 3;
const WINDOW: Duration = Duration::from_secs(2);
const RELOAD_EVERY: Duration = Duration::from_millis(500);

const PROXY_CPU: &str = "0";
const LOAD_CPU: usize = 1;

/// Connections that stay, and loops that connect anew for each exchange. Few: a closed loop that keeps the CPU full would
/// measure how long the control thread computes, and nothing about pauses.
const STAYING: usize = 4;
const COMING: usize = 2;
/// From a reply to the next request.
const PAUSE: Duration = Duration::from_micros(500);

fn main() -> io::Result<()> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a benchmark of a minute: cargo bench --bench reload");
        return Ok(());
    }
    let mut cpus = CpuSet::new();
    cpus.set(LOAD_CPU);
    sched_setaffinity(None, &cpus)?;
    let backend = start_backend()?;
    println!("{:<20}{:>10}{:>34}{:>34}", "", "", "without reloads, us", "with 2 reloads a second, us");
    println!(
        "{:<20}{:>10}{:>10}{:>8}{:>8}{:>8}{:>10}{:>8}{:>8}{:>8}",
        "policy", "start ms", "p50", "p99", "p99.9", "max", "p50", "p99", "p99.9", "max"
    );
    for policy in POLICIES {
        let proxy = Proxy::start(policy, backend)?;
        let (mut quiet, mut reloading) = (latencies(), latencies());
        for _ in 0..ROUNDS {
            quiet += proxy.window(Reloads::None)?;
            reloading += proxy.window(Reloads::Some)?;
        }
        print!("{policy:<20}{:>10.0}", proxy.started_in.as_secs_f64() * 1e3);
        for latencies in [quiet, reloading] {
            let at = |quantile| latencies.value_at_quantile(quantile);
            print!("{:>10}{:>8}{:>8}{:>8}", at(0.5), at(0.99), at(0.999), latencies.max());
        }
        println!();
    }
    Ok(())
}

/// A distribution in microseconds, to a thousandth; nothing here takes as long as a minute.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound")
}

/// Echoes on every address of the loopback; returns its port.
fn start_backend() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
            });
        }
    });
    Ok(port)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reloads {
    None,
    Some,
}

/// evenkeel in front of all those backends; killed when dropped.
struct Proxy {
    child: Child,
    front: SocketAddr,
    started_in: Duration,
    /// One file for each set of weights, and the one that is read.
    dir: tempfile::TempDir,
}

impl Proxy {
    fn start(policy: &str, port: u16) -> io::Result<Self> {
        let [front, admin] = free_addrs()?;
        let dir = tempfile::tempdir()?;
        for weight in [1, 2] {
            let text = config(policy, port, front, admin, weight);
            std::fs::write(dir.path().join(weight.to_string()), text)?;
        }
        let file = dir.path().join("config");
        std::fs::copy(dir.path().join("1"), &file)?;
        let begun = Instant::now();
        let child = Command::new("taskset")
            .args(["--cpu-list", PROXY_CPU, env!("CARGO_BIN_EXE_evenkeel"), "run", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()?;
        let mut proxy = Self { child, front, started_in: Duration::ZERO, dir };
        while !is_ready(admin).unwrap_or(false) && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(1));
        }
        proxy.started_in = begun.elapsed();
        Ok(proxy)
    }

    /// How long exchanges took.
    fn window(&self, reloads: Reloads) -> io::Result<Histogram<u64>> {
        let (done, all) = (AtomicBool::new(false), Mutex::new(latencies()));
        let is_done = || done.load(Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..STAYING {
                scope.spawn(|| keep(&all, stay(self.front, is_done)));
            }
            for _ in 0..COMING {
                scope.spawn(|| keep(&all, come_and_go(self.front, is_done)));
            }
            let begun = Instant::now();
            for weight in ["2", "1"].into_iter().cycle() {
                thread::sleep(RELOAD_EVERY);
                if begun.elapsed() >= WINDOW {
                    break;
                }
                if reloads == Reloads::Some {
                    self.reload(&self.dir.path().join(weight))?;
                }
            }
            done.store(true, Ordering::Relaxed);
            Ok::<_, io::Error>(())
        })?;
        Ok(all.into_inner().expect("nobody panics with it"))
    }

    fn reload(&self, from: &Path) -> io::Result<()> {
        std::fs::copy(from, self.dir.path().join("next"))?;
        std::fs::rename(self.dir.path().join("next"), self.dir.path().join("config"))?;
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(policy: &str, port: u16, front: SocketAddr, admin: SocketAddr, weight: u32) -> String {
    let mut text = format!(
        "workers = 1\nlog = \"warn\"\nadmin.http = \"{admin}\"\n[listeners.l]\nbind = [\"{front}\"]\npool = \"p\"\n\
         access_log = false\n[pools.p]\npolicy = \"{policy}\"\nbackends = [\n"
    );
    for index in 0..BACKENDS {
        // 127.1.0.0 and up: every one of them reaches the one backend.
        let ip = Ipv4Addr::from_bits(0x7f01_0000 + index);
        let weight = if index % 2 == 0 { weight } else { 1 };
        let _ = writeln!(text, "  {{ address = \"{ip}:{port}\", weight = {weight} }},");
    }
    text + "]\n"
}

/// One connection for all exchanges.
fn stay(front: SocketAddr, is_done: impl Fn() -> bool) -> io::Result<Histogram<u64>> {
    let mut stream = connect(front)?;
    let mut latencies = latencies();
    while !is_done() {
        latencies.saturating_record(micros(exchange(&mut stream)?));
        thread::sleep(PAUSE);
    }
    Ok(latencies)
}

/// A connection for each exchange; the latency is that of both.
fn come_and_go(front: SocketAddr, is_done: impl Fn() -> bool) -> io::Result<Histogram<u64>> {
    let mut latencies = latencies();
    while !is_done() {
        let begun = Instant::now();
        exchange(&mut connect(front)?)?;
        latencies.saturating_record(micros(begun.elapsed()));
        thread::sleep(PAUSE);
    }
    Ok(latencies)
}

fn connect(front: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(front)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> io::Result<Duration> {
    let begun = Instant::now();
    stream.write_all(&[7; 64])?;
    stream.read_exact(&mut [0; 64])?;
    Ok(begun.elapsed())
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

fn keep(all: &Mutex<Histogram<u64>>, latencies: io::Result<Histogram<u64>>) {
    match latencies {
        Ok(latencies) => *all.lock().expect("nobody panics with it") += latencies,
        Err(error) => eprintln!("a client saw: {error}"),
    }
}

fn free_addrs() -> io::Result<[SocketAddr; 2]> {
    let (first, second) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([first.local_addr()?, second.local_addr()?])
}

fn is_ready(admin: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(admin)?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}
