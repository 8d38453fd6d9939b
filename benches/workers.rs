//! How evenly two workers share bulk transfers, and what it costs to hand a connection over: `cargo bench --bench workers`.
//!
//! The shares are those of the real program's worker threads, from the scheduler. Nothing is asserted.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use statrs::statistics::{Data, Max as _, Median as _, Min as _};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

const WINDOW: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

const HAND_OVERS: u32 = 5_000;
const PAUSE: Duration = Duration::from_micros(50);

fn main() -> io::Result<()> {
    println!("{:<24}{:>22}{:>14}", "bulk connections", "CPU of the workers", "difference");
    for count in [2, 4, 8] {
        let [first, second] = bulk_shares(count)?;
        let difference = (first - second).abs() / first.max(second);
        println!("{count:<24}{:>22}{:>13.1}%", format!("{:.2} s, {:.2} s", first, second), difference * 100.0);
    }
    for (to, pause) in [("a worker that sleeps", Some(PAUSE)), ("a busy worker", None)] {
        let costs: Vec<f64> = (0..ROUNDS).map(|_| hand_over_cost(pause)).collect();
        let costs = Data::new(costs);
        println!("hand-over to {to}: {:.2} us of CPU (from {:.2} to {:.2})", costs.median(), costs.min(), costs.max());
    }
    Ok(())
}

/// CPU seconds of each worker while `count` clients send as much as they can.
fn bulk_shares(count: usize) -> io::Result<[f64; 2]> {
    let backend = Backend::start(|mut stream| while stream.read(&mut vec![0; 1 << 18]).is_ok_and(|read| read > 0) {})?;
    let proxy = Proxy::start(backend.addr)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..count {
            let mut stream = TcpStream::connect(proxy.front)?;
            let done = &done;
            scope.spawn(move || while !done.load(Ordering::Relaxed) && stream.write_all(&[0; 1 << 16]).is_ok() {});
        }
        thread::sleep(WINDOW / 4);
        let before = proxy.worker_seconds()?;
        thread::sleep(WINDOW);
        let after = proxy.worker_seconds()?;
        done.store(true, Ordering::Relaxed);
        Ok([after[0] - before[0], after[1] - before[1]])
    })
}

/// Microseconds on both threads together to hand something of an accepted connection's size over through a queue like the
/// workers'. A model: what the new worker then does for a connection, it does for any. With a pause the other runtime
/// has always gone to sleep again; without one it finds several at a time.
fn hand_over_cost(pause: Option<Duration>) -> f64 {
    let (inbox, mut queue) = mpsc::channel::<[u64; 12]>(1_024);
    let receiver = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { while queue.recv().await.is_some() {} });
        thread_seconds()
    });
    let mut sending = 0.0;
    for _ in 0..HAND_OVERS {
        let before = Instant::now();
        while inbox.try_send(black_box([0; 12])).is_err() {
            thread::yield_now();
        }
        sending += before.elapsed().as_secs_f64();
        if let Some(pause) = pause {
            thread::sleep(pause);
        }
    }
    drop(inbox);
    let receiving = receiver.join().expect("the receiver does not panic");
    (sending + receiving) * 1e6 / f64::from(HAND_OVERS)
}

/// Seconds that this thread has been on a CPU.
fn thread_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

struct Backend {
    addr: SocketAddr,
}

impl Backend {
    /// Serves each connection on a thread of its own, until the program ends.
    fn start(serve: fn(TcpStream)) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || serve(stream))));
        });
        Ok(Self { addr })
    }
}

/// evenkeel with two workers; killed when dropped.
struct Proxy {
    child: Child,
    front: SocketAddr,
    _config: tempfile::NamedTempFile,
}

impl Proxy {
    fn start(backend: SocketAddr) -> io::Result<Self> {
        let [front, admin] = free_addrs()?;
        let mut config = tempfile::NamedTempFile::new()?;
        write!(
            config,
            "workers = 2\nlog = \"warn\"\nadmin.http = \"{admin}\"\n[listeners.l]\nbind = [\"{front}\"]\npool = \"p\"\n\
             access_log = false\n[pools.p]\nbackends = [\"{backend}\"]\n"
        )?;
        let program = env!("CARGO_BIN_EXE_evenkeel");
        let child = Command::new(program).args(["run", "-c"]).arg(config.path()).stdin(Stdio::null()).spawn()?;
        let proxy = Self { child, front, _config: config };
        let give_up = Instant::now() + Duration::from_secs(10);
        // Asked of the admin side: a connection to the front would be somebody's session.
        while !is_ready(admin).unwrap_or(false) && Instant::now() < give_up {
            thread::yield_now();
        }
        Ok(proxy)
    }

    /// Seconds on a CPU so far, by worker.
    fn worker_seconds(&self) -> io::Result<Vec<f64>> {
        let mut seconds = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let dir = task?.path();
            if fs::read_to_string(dir.join("comm"))?.trim() == "worker" {
                let schedstat = fs::read_to_string(dir.join("schedstat"))?;
                let nanos: f64 = schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0.0);
                seconds.insert(dir, nanos / 1e9);
            }
        }
        Ok(seconds.into_values().collect())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
