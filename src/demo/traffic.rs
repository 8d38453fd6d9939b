//! The demo's clients: a fixed number, each one connection at a time, at a fixed pace.
//!
//! A client connects, exchanges a few messages and ends in an orderly way, over and over. What goes wrong is counted
//! once, as what the client saw, and the client tries again like any client with a reconnect loop. Nothing is retried
//! behind the counters' back.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use crate::demo::latency::Latencies;

/// How much traffic, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The balancer.
    pub target: SocketAddr,
    /// Clients, each with one connection at a time.
    pub clients: u32,
    /// Messages of one session.
    pub exchanges: u32,
    /// Bytes of one message, and of its answer.
    pub message_bytes: usize,
    /// From an answer to the next message.
    pub pause: Duration,
}

/// An answer that takes longer counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// From a failure to the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// What the clients saw.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Messages answered, and how long each answer took.
    pub answers: Latencies,
    /// Connections refused or ended before the first answer.
    pub refused: u64,
    /// Connections that ended after the first answer and before their time.
    pub cut: u64,
    /// Messages without an answer in time.
    pub timed_out: u64,
    /// Answers that were not what was sent.
    pub corrupted: u64,
    /// The longest time from a failure to the same client's next answer.
    pub longest_recovery: Duration,
}

impl Tally {
    /// Everything that went wrong.
    pub fn failures(&self) -> u64 {
        self.refused + self.cut + self.timed_out + self.corrupted
    }

    /// Adds everything seen in `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.answers.absorb(&other.answers);
        self.refused += other.refused;
        self.cut += other.cut;
        self.timed_out += other.timed_out;
        self.corrupted += other.corrupted;
        self.longest_recovery = self.longest_recovery.max(other.longest_recovery);
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Traffic {
    clients: JoinSet<()>,
    /// Since the last [`Traffic::take`].
    tally: Arc<Mutex<Tally>>,
}

impl Traffic {
    /// Starts the clients of `plan`; they finish by themselves, in an orderly way, once `stop` is set.
    pub fn start(plan: Plan, stop: &Arc<AtomicBool>) -> Self {
        let tally = Arc::default();
        let mut clients = JoinSet::new();
        for id in 0..plan.clients {
            let client = Client { plan, id, stop: Arc::clone(stop), tally: Arc::clone(&tally) };
            clients.spawn(client.run());
        }
        Self { clients, tally }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut lock(&self.tally))
    }

    /// Waits until the last client has finished, then says what was seen since the last [`Traffic::take`].
    pub async fn finish(mut self) -> Tally {
        while self.clients.join_next().await.is_some() {}
        self.take()
    }
}

/// One client.
struct Client {
    plan: Plan,
    id: u32,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

/// What went wrong, as the client saw it.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Refused,
    Cut,
    TimedOut,
    Corrupted,
}

impl Client {
    async fn run(self) {
        // The starts are spread over the length of a session, or all clients would reconnect at the same moment.
        time::sleep(self.plan.pause * self.plan.exchanges * self.id / self.plan.clients).await;
        let mut failed_at = None;
        while !self.stopping() {
            let Err(failure) = self.session(&mut failed_at).await else { continue };
            // What breaks while everything is being stopped is no failure of the balancer.
            if self.stopping() {
                return;
            }
            failed_at.get_or_insert_with(Instant::now);
            self.count(failure);
            time::sleep(RETRY_PAUSE).await;
        }
    }

    /// One connection from start to end. The first answer ends the time since `failed_at`.
    async fn session(&self, failed_at: &mut Option<Instant>) -> Result<(), Failure> {
        let mut stream = connect(self.plan.target).await.map_err(|_| Failure::Refused)?;
        let message = vec![self.id.to_le_bytes()[0]; self.plan.message_bytes];
        let mut answer = vec![0; self.plan.message_bytes];
        for nth in 0..self.plan.exchanges {
            let sent = Instant::now();
            answer.fill(!message[0]);
            match time::timeout(ANSWER_TIMEOUT, exchange(&mut stream, &message, &mut answer)).await {
                Err(_) => return Err(Failure::TimedOut),
                Ok(Err(_)) if nth == 0 => return Err(Failure::Refused),
                Ok(Err(_)) => return Err(Failure::Cut),
                Ok(Ok(())) if answer != message => return Err(Failure::Corrupted),
                Ok(Ok(())) => self.count_answer(sent.elapsed(), failed_at.take()),
            }
            if self.stopping() {
                break;
            }
            time::sleep(self.plan.pause).await;
        }
        finish(stream).await.map_err(|_| Failure::Cut)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn count_answer(&self, latency: Duration, failed_at: Option<Instant>) {
        let mut tally = lock(&self.tally);
        tally.answers.record(latency);
        if let Some(failed_at) = failed_at {
            tally.longest_recovery = tally.longest_recovery.max(failed_at.elapsed());
        }
    }

    fn count(&self, failure: Failure) {
        let mut tally = lock(&self.tally);
        match failure {
            Failure::Refused => tally.refused += 1,
            Failure::Cut => tally.cut += 1,
            Failure::TimedOut => tally.timed_out += 1,
            Failure::Corrupted => tally.corrupted += 1,
        }
    }
}

/// Connects, so that a lost packet looks like a refusal instead of hanging for minutes.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = time::timeout(ANSWER_TIMEOUT, TcpStream::connect(target)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends one message and reads its whole answer.
async fn exchange(stream: &mut TcpStream, message: &[u8], answer: &mut [u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.read_exact(answer).await?;
    Ok(())
}

/// Ends our stream and waits for the other side to end its own, with nothing left to read.
async fn finish(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    match time::timeout(ANSWER_TIMEOUT, stream.read(&mut [0])).await? {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) => Err(error),
    }
}

/// Every change under the lock is whole when it ends, so a poisoned one is, too.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
