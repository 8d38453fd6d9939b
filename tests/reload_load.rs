//! Reloading again and again: under full load without a failure, and without growth.
//!
//! A binary of its own: it takes both processors.

mod support;

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::process::Descriptors;
use support::socket::{assert_echo, connect, echo, end, try_connect};
use support::wait::{SOON, hold_for, wait_until};

/// Clients that connect, exchange once and leave; and clients that stay and exchange all the time.
const SHORT: usize = 4;
const LONG: usize = 8;
const RELOADS: u64 = 100;
const SIGHUPS: u32 = 1_000;

/// Allowed between the hundredth and the last SIGHUP: what an allocator keeps, far below one kept configuration each.
const RESIDENT_GROWTH: u64 = 1 << 20;

#[test]
fn a_hundred_reloads_under_full_load_fail_and_cut_nothing() {
    let (front, extra) = (free_addr(), free_addr());
    let backends = [(); 3].map(|()| Backend::start(Behaviour::Echo));
    let balancer = Balancer::start(&Step(0).config(front, extra, &backends));

    let load = Load::default();
    let long: Vec<TcpStream> = (0..LONG).map(|_| connect(front)).collect();
    thread::scope(|scope| {
        for _ in 0..SHORT {
            scope.spawn(|| load.run_short(front));
        }
        for stream in long {
            scope.spawn(|| load.run_long(stream));
        }
        // Ended also when a reload fails, or the load would never stop.
        let _stop = StopOnDrop(&load);
        for index in 1..=RELOADS {
            balancer.reload_done(&Step(index).config(front, extra, &backends));
            let (short, long) = load.done();
            wait_until("load has passed under this configuration", SOON, || {
                let now = load.done();
                load.has_failed() || (now.0 >= short + SHORT as u64 && now.1 >= long + LONG as u64)
            });
        }
    });
    let failures = load.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (short, long) = (load.short.load(Ordering::Relaxed), load.long.load(Ordering::Relaxed));
    eprintln!("{short} short connections, {long} exchanges on {LONG} long ones");
    assert!(failures.is_empty(), "{} of {short} + {long}: {:?}", failures.len(), failures.first());

    balancer.wait_idle(SOON);
    let metrics = balancer.metrics();
    assert_eq!(metrics.value("evenkeel_reloads_total", &[("result", "done")]), RELOADS as f64);
    assert_eq!(metrics.sum("evenkeel_listener_refused_total", &[]), 0.0);
    assert_eq!(metrics.sum("evenkeel_backend_connect_errors_total", &[]), 0.0);
}

#[test]
fn a_thousand_sighups_grow_nothing() {
    let (front, extra) = (free_addr(), free_addr());
    let backends = [(); 3].map(|()| Backend::start(Behaviour::Echo));
    let balancer = Balancer::start(&Step(0).config(front, extra, &backends));
    let mut held = connect(front);
    assert_echo(&mut held);

    let mut baseline: Option<(u64, Descriptors)> = None;
    for index in 1..=SIGHUPS {
        balancer.write(&Step(index.into()).config(front, extra, &backends));
        balancer.process.signal(Signal::HUP);
        wait_until("the reload is done", SOON, || {
            balancer.metrics().value("evenkeel_reloads_total", &[("result", "done")]) == f64::from(index)
        });
        // By then every buffer and table has been used; a multiple of the cycle, so that the same things are bound.
        if index == SIGHUPS / 10 {
            baseline = Some((balancer.process.resident_bytes(), settled(&balancer)));
        }
    }
    let (resident, descriptors) = baseline.expect("taken on the way");
    let grown = balancer.process.resident_bytes().saturating_sub(resident);
    eprintln!("{grown} bytes of growth");
    assert!(grown <= RESIDENT_GROWTH, "{grown} bytes of growth over {SIGHUPS} reloads");
    assert_eq!(settled(&balancer), descriptors);
    assert_echo(&mut held);
}

/// The fewest descriptors in a while: without those of probes, which come and go, and of retired listeners, which stay
/// a moment longer.
fn settled(balancer: &Balancer) -> Descriptors {
    let mut fewest = balancer.settled_descriptors();
    hold_for("there are descriptors", Duration::from_secs(1), || {
        let now = balancer.process.descriptors();
        if now.total < fewest.total {
            fewest = now;
        }
        now.total > 0
    });
    fewest
}

/// The configuration of one reload: everything that can change does, in a cycle of four.
struct Step(u64);

impl Step {
    fn config(&self, front: SocketAddr, extra: SocketAddr, backends: &[Backend; 3]) -> Config {
        let [a, b, c] = backends.each_ref().map(Backend::addr);
        let backends = match self.0 % 4 {
            0 => format!("\"{a}\", \"{b}\""),
            1 => format!("\"{a}\", {{ address = \"{b}\", weight = 3 }}"),
            2 => format!("\"{a}\", \"{b}\", \"{c}\""),
            _ => format!("\"{b}\", \"{c}\""),
        };
        let policy = if self.0.is_multiple_of(2) { "least-connections" } else { "round-robin" };
        let keys = format!("max_connections = {}", 1_000 + self.0 % 4);
        let config = Config::new()
            .listener("main", front, "main", &keys)
            .pool_of("main", &backends, &format!("policy = \"{policy}\""))
            .health_check("main", 200, 200);
        if self.0 % 4 == 2 { config.listener("extra", extra, "main", "") } else { config }
    }
}

/// The clients and what they met.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    short: AtomicU64,
    long: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn run_short(&self, front: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            match try_connect(front).and_then(|mut stream| {
                echo(&mut stream, b"in and out")?;
                end(&stream);
                std::io::copy(&mut stream, &mut std::io::sink())
            }) {
                Ok(_) => self.short.fetch_add(1, Ordering::Relaxed),
                Err(error) => return self.fail(format!("a short connection: {error}")),
            };
        }
    }

    fn run_long(&self, mut stream: TcpStream) {
        let message = [0x42; 2_000];
        while !self.stop.load(Ordering::Relaxed) {
            match echo(&mut stream, &message) {
                Ok(()) => self.long.fetch_add(1, Ordering::Relaxed),
                Err(error) => return self.fail(format!("a long connection: {error}")),
            };
        }
    }

    /// Short connections and long exchanges so far.
    fn done(&self) -> (u64, u64) {
        (self.short.load(Ordering::Relaxed), self.long.load(Ordering::Relaxed))
    }

    fn has_failed(&self) -> bool {
        !self.failures.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn fail(&self, failure: String) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
    }
}

struct StopOnDrop<'a>(&'a Load);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
