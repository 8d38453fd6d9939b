//! Every byte arrives once and in order: random sizes, chunks and pauses, both directions at once, ends in any order,
//! hashed at both ends.
//!
//! `EVENKEEL_SEEDS=n` runs n seeds instead of 200; `EVENKEEL_SEED=x` replays one.

mod support;

use std::collections::HashMap;
use std::env;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use support::balancer::Balancer;
use support::config::Config;
use support::payload::{Digested, Digester, Stream};
use support::port::free_addr;
use support::socket::{accept, addr_of, connect, end, listen};
use support::wait::{SOON, wait_for};

const DEFAULT_SEEDS: u64 = 200;

/// Seeds that run at the same time: the sessions of one worker interleave, and a pause of one is work for another.
const LANES: usize = 6;

/// The largest payload of one direction, as a power of two.
const LARGEST_LOG2: u32 = 26;

#[test]
fn what_arrives_is_what_was_sent() {
    let seeds = seeds();
    let (front, back) = (free_addr(), listen());
    let config = Config::new().listener("main", front, "main", "").pool("main", &[addr_of(&back)], "");
    let balancer = Balancer::start(&config);

    let backend = Backend { listener: back, waiting: Mutex::default() };
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        break;
                    }
                    if let Err(failure) = run_seed(seed, front, &backend) {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push(format!("EVENKEEL_SEED={seed} cargo test --test integrity: {failure}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(failures.is_empty(), "{} of {seeds:?} failed:\n{}", failures.len(), failures.join("\n"));

    balancer.wait_idle(SOON);
    balancer.wait_no_close_wait();
    let finished = balancer.metrics().sum("evenkeel_sessions_closed_total", &[("reason", "finished")]);
    assert_eq!(finished, (seeds.end - seeds.start) as f64, "every session ended cleanly");
}

fn seeds() -> Range<u64> {
    let number = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number of seeds or a seed"));
    match number("EVENKEEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("EVENKEEL_SEEDS").unwrap_or(DEFAULT_SEEDS),
    }
}

/// What one side sends and how.
#[derive(Debug)]
struct Plan {
    seed: u64,
    phases: Vec<Phase>,
    end: End,
    reader: Reader,
}

/// A run of writes of one kind: what makes the relay change its tier.
#[derive(Debug)]
struct Phase {
    bytes: usize,
    chunks: Range<usize>,
    /// One write in so many is followed by a pause.
    pause_every: u32,
}

/// When a side ends its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After its last byte.
    AtOnce,
    /// After the end of the other side.
    Last,
}

/// How a side reads.
#[derive(Debug)]
struct Reader {
    largest: usize,
    pause_every: u32,
}

/// The client's first bytes: which seed this connection belongs to.
const TAG: usize = 8;

fn run_seed(seed: u64, front: SocketAddr, backend: &Backend) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let (client_end, backend_end) = match rng.u8(0..3) {
        0 => (End::AtOnce, End::AtOnce),
        1 => (End::AtOnce, End::Last),
        _ => (End::Last, End::AtOnce),
    };
    let upstream = Plan::random(&mut rng, client_end);
    let downstream = Plan::random(&mut rng, backend_end);

    let mut client = connect(front);
    client.write_all(&seed.to_le_bytes()).map_err(|error| format!("the tag: {error}"))?;
    let server = backend.session_of(seed);
    let (at_client, at_backend) = thread::scope(|scope| {
        let at_backend = scope.spawn(|| play(&server, &downstream));
        (play(&client, &upstream), at_backend.join().expect("a side does not panic"))
    });
    let at_client = at_client.map_err(|error| format!("the client: {error}; {upstream:?}"))?;
    let at_backend = at_backend.map_err(|error| format!("the backend: {error}; {downstream:?}"))?;
    if at_backend.received != at_client.sent {
        return Err(format!("upstream {:?} became {:?}; {upstream:?}", at_client.sent, at_backend.received));
    }
    if at_client.received != at_backend.sent {
        return Err(format!("downstream {:?} became {:?}; {downstream:?}", at_backend.sent, at_client.received));
    }
    Ok(())
}

/// What one side saw.
struct Seen {
    sent: Digested,
    received: Digested,
}

/// Sends and receives at the same time until both directions have ended.
fn play(stream: &TcpStream, plan: &Plan) -> io::Result<Seen> {
    thread::scope(|scope| {
        let reader = scope.spawn(|| plan.read(stream));
        let sent = plan.write(stream);
        if plan.end == End::AtOnce {
            end(stream);
        }
        let received = reader.join().expect("a reader does not panic");
        if plan.end == End::Last {
            end(stream);
        }
        Ok(Seen { sent: sent?, received: received? })
    })
}

impl Plan {
    fn random(rng: &mut Rng, end: End) -> Self {
        // Every size from 1 byte to 64 MiB, each power of two as likely as the next.
        let log2 = rng.u32(0..=LARGEST_LOG2);
        let total = rng.usize(1 << log2.saturating_sub(1)..=1 << log2);
        let mut phases = Vec::new();
        let mut left = total;
        while left > 0 {
            let phase = Phase::random(rng, left);
            left -= phase.bytes;
            phases.push(phase);
        }
        let reader = Reader { largest: 1 << rng.u32(8..=18), pause_every: rng.u32(20..2_000) };
        Self { seed: rng.u64(..), phases, end, reader }
    }

    fn write(&self, mut to: &TcpStream) -> io::Result<Digested> {
        let mut rng = Rng::with_seed(!self.seed);
        let mut stream = Stream::new(self.seed);
        let mut buffer = vec![0; 256 * 1024];
        for phase in &self.phases {
            let mut left = phase.bytes;
            while left > 0 {
                let chunk = rng.usize(phase.chunks.clone()).min(left);
                stream.fill(&mut buffer[..chunk]);
                to.write_all(&buffer[..chunk])?;
                left -= chunk;
                pause(&mut rng, phase.pause_every);
            }
        }
        Ok(stream.finish())
    }

    fn read(&self, mut from: &TcpStream) -> io::Result<Digested> {
        let mut rng = Rng::with_seed(self.seed.rotate_left(32));
        let mut digester = Digester::default();
        let mut buffer = vec![0; self.reader.largest];
        loop {
            let room = rng.usize(1..=buffer.len());
            match from.read(&mut buffer[..room])? {
                0 => return Ok(digester.finish()),
                count => digester.update(&buffer[..count]),
            }
            pause(&mut rng, self.reader.pause_every);
        }
    }
}

impl Phase {
    /// A trickle of small writes, writes of a few KiB, or bulk; at most `left` bytes.
    fn random(rng: &mut Rng, left: usize) -> Self {
        match rng.u8(0..4) {
            0 => Self { bytes: left.min(rng.usize(1..=64 << 10)), chunks: 1..1_500, pause_every: 8 },
            1 => Self { bytes: left.min(rng.usize(1..=512 << 10)), chunks: 1_000..20_000, pause_every: 32 },
            _ => Self { bytes: left.min(rng.usize(1..=32 << 20)), chunks: 16_000..256 << 10, pause_every: 200 },
        }
    }
}

/// Once in `every` calls, up to half a millisecond: so long that what was sent before has moved on alone.
fn pause(rng: &mut Rng, every: u32) {
    if rng.u32(0..every) == 0 {
        thread::sleep(Duration::from_micros(rng.u64(10..500)));
    }
}

/// The backend of all seeds: connections are told apart by their tags, since they need not arrive in order.
struct Backend {
    listener: TcpListener,
    waiting: Mutex<HashMap<u64, TcpStream>>,
}

impl Backend {
    fn session_of(&self, seed: u64) -> TcpStream {
        wait_for("the session of the seed arrives", SOON, || {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(stream) = waiting.remove(&seed) {
                return Some(stream);
            }
            let mut stream = accept(&self.listener);
            let mut tag = [0; TAG];
            stream.read_exact(&mut tag).expect("a tag");
            waiting.insert(u64::from_le_bytes(tag), stream);
            None
        })
    }
}
