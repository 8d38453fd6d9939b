//! UDP in the demo: simulated backends that echo datagrams, and clients that send them.
//!
//! Loss is what UDP has instead of failures: a client that has no answer in time counts one and sends the next message.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use crate::demo::backend::Behaviour;
use crate::demo::latency::Latencies;

/// The longest datagram there is.
const LONGEST: usize = 65_535;

/// An answer that takes longer counts as lost.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What a simulated backend has done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Datagrams received.
    pub datagrams: AtomicU64,
    /// Datagrams left unanswered because of the failure rate.
    pub ignored: AtomicU64,
    /// Datagrams left unanswered because too many were waiting.
    pub refused: AtomicU64,
    /// Bytes echoed.
    pub bytes: AtomicU64,
}

/// A simulated backend that is bound.
#[derive(Debug)]
pub struct Echo {
    socket: Arc<UdpSocket>,
    behaviour: Behaviour,
    counts: Arc<Counts>,
}

impl Echo {
    /// Binds `addr`, where port 0 asks for any free one.
    ///
    /// # Errors
    /// What `socket` and `bind` report.
    pub async fn bind(addr: SocketAddr, behaviour: Behaviour) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(addr).await?);
        Ok(Self { socket, behaviour, counts: Arc::default() })
    }

    /// Where it is, with its real port.
    ///
    /// # Errors
    /// What `getsockname` reports.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Echoes until `end` is ready, then dies like a killed process: what waits for its answer gets none, and what
    /// comes later is refused by the kernel.
    pub async fn serve_until(self, end: impl Future<Output = ()>) {
        let mut answers = JoinSet::new();
        let mut end = pin!(end);
        let mut bytes = vec![0; LONGEST];
        loop {
            tokio::select! {
                () = &mut end => return,
                Some(_) = answers.join_next() => {}
                received = self.socket.recv_from(&mut bytes) => {
                    // An error is what ICMP said about an answer to a client that is gone.
                    let Ok((length, client)) = received else { continue };
                    if let Some(delay) = self.admit(answers.len()) {
                        answers.spawn(self.answer(bytes[..length].to_vec(), client, delay));
                    }
                }
            }
        }
    }

    /// How long the answer to one more datagram takes, if it is to have one.
    fn admit(&self, waiting: usize) -> Option<Duration> {
        let nth = self.counts.datagrams.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.behaviour.max_connections {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if self.behaviour.fails(nth) {
            self.counts.ignored.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.behaviour.delay(nth))
    }

    fn answer(&self, message: Vec<u8>, client: SocketAddr, delay: Duration) -> impl Future<Output = ()> + use<> {
        let (socket, counts) = (Arc::clone(&self.socket), Arc::clone(&self.counts));
        async move {
            if !delay.is_zero() {
                time::sleep(delay).await;
            }
            if socket.send_to(&message, client).await.is_ok() {
                counts.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// What the clients saw.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Messages answered, and how long each answer took.
    pub answers: Latencies,
    /// Messages without an answer in time.
    pub lost: u64,
}

impl Tally {
    /// Adds everything seen in `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.answers.absorb(&other.answers);
        self.lost += other.lost;
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Clients {
    tasks: JoinSet<io::Result<()>>,
    /// Since the last [`Clients::take`].
    tally: Arc<Mutex<Tally>>,
}

impl Clients {
    /// Starts `count` clients of `target`, each with a message of `bytes` bytes every `pause`; they finish by
    /// themselves once `stop` is set.
    pub fn start(target: SocketAddr, count: u32, bytes: usize, pause: Duration, stop: &Arc<AtomicBool>) -> Self {
        let tally = Arc::<Mutex<Tally>>::default();
        let mut tasks = JoinSet::new();
        for id in 0..count {
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(stop));
            tasks.spawn(async move {
                // Spread over the pause, or all would send at the same moment.
                time::sleep(pause * id / count).await;
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                socket.connect(target).await?;
                let mut message = vec![0; bytes.max(8)];
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    let sent = Instant::now();
                    let is_answered = time::timeout(ANSWER_TIMEOUT, exchange(&socket, &message)).await.is_ok();
                    count_one(&mut lock(&tally), is_answered.then(|| sent.elapsed()));
                    time::sleep(pause).await;
                }
                Ok(())
            });
        }
        Self { tasks, tally }
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Tally {
        std::mem::take(&mut lock(&self.tally))
    }

    /// Waits until the last client has finished, then says what was seen since the last [`Clients::take`].
    pub async fn finish(mut self) -> Tally {
        while self.tasks.join_next().await.is_some() {}
        self.take()
    }
}

/// Sends a message and waits for its answer; late answers to older ones are passed over.
async fn exchange(socket: &UdpSocket, message: &[u8]) {
    let mut answer = vec![0; message.len()];
    // What could not be sent has no answer.
    let _ = socket.send(message).await;
    while !socket.recv(&mut answer).await.is_ok_and(|length| answer[..length] == *message) {}
}

fn count_one(tally: &mut Tally, answered_after: Option<Duration>) {
    match answered_after {
        Some(latency) => tally.answers.record(latency),
        None => tally.lost += 1,
    }
}

/// Every change under the lock is whole when it ends, so a poisoned one is, too.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}
