//! A simulated TCP backend: an echo service that can be slow, unreliable or dead.
//!
//! It exists so that a configuration can be tried without the real thing behind it. Everything random about it comes
//! from a seed. It keeps no connection alive on purpose and closes none for being idle; what bounds it is
//! [`Behaviour::max_connections`], with one buffer of [`BUFFER`] bytes for each.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

use crate::hash;

/// Bytes that a session reads before it answers: what one TLS record or a large query needs.
pub const BUFFER: usize = 16 * 1024;

/// Connections that may wait for us to accept them; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 1024;

/// Pause after an accept that failed through no fault of a peer, such as a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a simulated backend behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour {
    /// Waited before each answer.
    pub latency: Duration,
    /// Upper bound of a random addition to `latency`.
    pub jitter: Duration,
    /// Share of connections, from 0 to 1, that are reset instead of served.
    pub failure_rate: f64,
    /// Sent as soon as a client connects, for protocols in which the backend speaks first.
    pub greeting: Option<String>,
    /// Connections served at a time; one more is reset.
    pub max_connections: usize,
    /// Decides which connections fail and how long each answer takes.
    pub seed: u64,
}

impl Default for Behaviour {
    /// A prompt and reliable echo service.
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            failure_rate: 0.0,
            greeting: None,
            max_connections: 1024,
            seed: 0,
        }
    }
}

/// What a simulated backend has done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections accepted, those included that were reset at once.
    pub connections: AtomicU64,
    /// Connections reset because of the failure rate.
    pub failed: AtomicU64,
    /// Connections reset because too many were open.
    pub refused: AtomicU64,
    /// Bytes echoed.
    pub bytes: AtomicU64,
}

/// A simulated backend on an address of its own, dead until it listens.
#[derive(Debug)]
pub struct Backend {
    addr: SocketAddr,
    /// Bound and never listening. It keeps the port ours while the backend is dead: without it the kernel could give
    /// the port to any outgoing connection meanwhile.
    _reservation: TcpSocket,
    shared: Arc<Shared>,
}

/// What the sessions of a backend have in common.
#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    counts: Counts,
    answers: AtomicU64,
}

impl Backend {
    /// Reserves `addr`, where port 0 asks for any free one, without listening on it.
    ///
    /// # Errors
    /// What `socket` and `bind` report.
    pub fn reserve(addr: SocketAddr, behaviour: Behaviour) -> io::Result<Self> {
        let reservation = bind(addr)?;
        let addr = reservation.local_addr()?;
        let shared = Shared { behaviour, counts: Counts::default(), answers: AtomicU64::new(0) };
        Ok(Self { addr, _reservation: reservation, shared: Arc::new(shared) })
    }

    /// The reserved address, with its real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has done so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// Starts to listen; connections wait until [`Alive::serve_until`] is polled.
    ///
    /// # Errors
    /// What `bind` and `listen` report, above all that another process listens on the address.
    pub fn listen(&self) -> io::Result<Alive> {
        let listener = bind(self.addr)?.listen(BACKLOG)?;
        Ok(Alive { listener, shared: Arc::clone(&self.shared) })
    }
}

/// A backend that listens.
#[derive(Debug)]
pub struct Alive {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl Alive {
    /// Serves until `end` is ready, then dies like a killed process: the listening socket closes and every open
    /// connection is reset.
    pub async fn serve_until(self, end: impl Future<Output = ()>) {
        let Self { listener, shared } = self;
        // Sessions end when the sender is dropped.
        let (alive, death) = watch::channel(());
        let mut sessions = JoinSet::new();
        let mut end = pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                Some(_) = sessions.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if let Some(stream) = shared.admit(stream, sessions.len()) {
                            sessions.spawn(session(stream, Arc::clone(&shared), death.clone()));
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        drop(listener);
        drop(alive);
        while sessions.join_next().await.is_some() {}
    }
}

impl Shared {
    /// Counts a connection and gives it back if it is to be served; resets it otherwise.
    fn admit(&self, stream: TcpStream, open: usize) -> Option<TcpStream> {
        let counts = &self.counts;
        let nth = counts.connections.fetch_add(1, Ordering::Relaxed);
        let refused_by = if open >= self.behaviour.max_connections {
            &counts.refused
        } else if self.behaviour.fails(nth) {
            &counts.failed
        } else {
            return Some(stream);
        };
        refused_by.fetch_add(1, Ordering::Relaxed);
        reset(&stream);
        None
    }

    /// Greets, then echoes until the client ends its stream.
    async fn echo(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if let Some(greeting) = &self.behaviour.greeting {
            stream.write_all(greeting.as_bytes()).await?;
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = stream.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let delay = self.behaviour.delay(self.answers.fetch_add(1, Ordering::Relaxed));
            if !delay.is_zero() {
                time::sleep(delay).await;
            }
            stream.write_all(&buffer[..length]).await?;
            self.counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
    }
}

impl Behaviour {
    /// Whether the `nth` connection is reset, or the `nth` datagram ignored.
    pub(super) fn fails(&self, nth: u64) -> bool {
        uniform(nth, self.seed) < self.failure_rate
    }

    /// How long the `nth` answer takes.
    pub(super) fn delay(&self, nth: u64) -> Duration {
        // The complement of the seed, so that slow answers and failed connections are independent.
        self.latency + self.jitter.mul_f64(uniform(nth, !self.seed))
    }
}

/// One connection, from accept to close.
async fn session(mut stream: TcpStream, shared: Arc<Shared>, mut death: watch::Receiver<()>) {
    tokio::select! {
        _ = death.changed() => reset(&stream),
        // A client that went away is not news to an echo service.
        _ = shared.echo(&mut stream) => {}
    }
}

/// Makes the close that follows a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // Fails only on a connection that is gone already.
    let _ = stream.set_zero_linger();
}

/// A socket on `addr` that shares it with our own other sockets as long as at most one of them listens.
fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// The `nth` of a sequence of numbers, evenly spread over [0, 1).
fn uniform(nth: u64, seed: u64) -> f64 {
    // 53 bits are what an `f64` holds exactly.
    (hash::hash(&nth.to_le_bytes(), seed) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn shares_and_delays_follow_the_behaviour() {
        let behaviour = Behaviour {
            latency: Duration::from_millis(20),
            jitter: Duration::from_millis(10),
            failure_rate: 0.3,
            ..Behaviour::default()
        };
        let failures = (0..10_000).filter(|nth| behaviour.fails(*nth)).count();
        assert!((2_850..3_150).contains(&failures), "{failures} of 10,000 failed");
        let delays: Vec<_> = (0..1_000).map(|nth| behaviour.delay(nth)).collect();
        assert!(delays.iter().all(|delay| (20..30).contains(&delay.as_millis())));
        assert!(delays.iter().any(|delay| delay.as_millis() < 22) && delays.iter().any(|delay| delay.as_millis() > 28));
    }

    #[test]
    fn none_and_all_are_exact() {
        let none = Behaviour::default();
        let all = Behaviour { failure_rate: 1.0, ..Behaviour::default() };
        assert!((0..10_000).all(|nth| !none.fails(nth) && all.fails(nth)));
    }

    #[test]
    fn dies_with_resets_and_comes_back_on_the_same_port() {
        runtime().block_on(async {
            let backend = Backend::reserve(loopback(), Behaviour::default()).expect("a free port");
            for _ in 0..3 {
                let (kill, killed) = tokio::sync::oneshot::channel::<()>();
                let alive = backend.listen().expect("our own port");
                let serving = tokio::spawn(alive.serve_until(async { drop(killed.await) }));

                let mut client = TcpStream::connect(backend.addr()).await.expect("it listens");
                client.write_all(b"hello").await.expect("it reads");
                let mut answer = [0; 5];
                client.read_exact(&mut answer).await.expect("it answers");
                assert_eq!(&answer, b"hello");

                kill.send(()).expect("it is alive");
                let end = client.read(&mut answer).await.expect_err("a reset, not an end");
                assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
                serving.await.expect("no panic");
                let dead = TcpStream::connect(backend.addr()).await.expect_err("nobody listens");
                assert_eq!(dead.kind(), io::ErrorKind::ConnectionRefused);
            }
            assert_eq!(backend.counts().connections.load(Ordering::Relaxed), 3);
            assert_eq!(backend.counts().bytes.load(Ordering::Relaxed), 15);
        });
    }

    #[test]
    fn greets_and_refuses_beyond_its_bound() {
        runtime().block_on(async {
            let behaviour =
                Behaviour { greeting: Some("220 ready\n".into()), max_connections: 1, ..Behaviour::default() };
            let backend = Backend::reserve(loopback(), behaviour).expect("a free port");
            tokio::spawn(backend.listen().expect("our own port").serve_until(std::future::pending()));

            let mut first = TcpStream::connect(backend.addr()).await.expect("it listens");
            let mut greeting = [0; 10];
            first.read_exact(&mut greeting).await.expect("it speaks first");
            assert_eq!(&greeting, b"220 ready\n");
            // The reset may come before the connect is over.
            let second = async { TcpStream::connect(backend.addr()).await?.read(&mut greeting).await };
            assert_eq!(second.await.expect_err("one too many").kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(backend.counts().refused.load(Ordering::Relaxed), 1);
        });
    }
}
