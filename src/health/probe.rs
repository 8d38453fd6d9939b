//! One backend's probes, one after another.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Target, Verdict};
use crate::control::Event;
use crate::hash;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::{Health, ProbeResult, jittered};

/// What a backend may say to a probe before we stop listening; a greeting is far shorter.
const GREETING_LIMIT: u64 = 64 << 10;

/// How long a backend may take to answer our end with its own. A healthy one does at once; others must not keep the
/// probes of the rest waiting.
const FAREWELL: Duration = Duration::from_millis(200);

/// One backend's probes.
#[derive(Debug)]
pub(super) struct Probing {
    pub(super) task: u64,
    pub(super) state: Arc<BackendState>,
    pub(super) target: Target,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) events: mpsc::Sender<Event>,
}

impl Probing {
    /// Probes until it is aborted. The first probe is made at once.
    pub(super) async fn run(self) {
        let Target { endpoint, check } = &self.target;
        let seed = self.state.hash_key();
        let mut health = Health::new(self.state.status());
        let mut due = Instant::now();
        for turn in 0_u64.. {
            sleep_until(due).await;
            let result = {
                // Closed only when the control task is gone.
                let Ok(_permit) = self.in_flight.acquire().await else { return };
                connect(endpoint, check.timeout).await
            };
            if self.report(&mut health, result).await.is_err() {
                return;
            }
            let random = hash::hash(&turn.to_le_bytes(), seed);
            due = (due + jittered(health.next_probe_after(check), random)).max(Instant::now());
        }
    }

    /// Counts a result, and says so when it changes the verdict.
    async fn report(&self, health: &mut Health, result: io::Result<()>) -> Result<(), SendError<Event>> {
        let (result, counter, reason) = match result {
            Ok(()) => (ProbeResult::Passed, &self.state.probes.passed, None),
            Err(error) => (ProbeResult::Failed, &self.state.probes.failed, Some(error.to_string())),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let Some(transition) = health.record(result, &self.target.check) else { return Ok(()) };
        let verdict = Verdict { key: self.state.key.clone(), task: self.task, transition, reason };
        self.events.send(Event::Probed(verdict)).await
    }
}

/// Connects within `limit`, and leaves in order.
async fn connect(endpoint: &Endpoint, limit: Duration) -> io::Result<()> {
    match endpoint {
        Endpoint::Inet(addr) => {
            let stream = timeout(limit, TcpStream::connect(addr)).await??;
            leave(stream).await;
        }
        Endpoint::Unix(path) => {
            let stream = timeout(limit, UnixStream::connect(path)).await??;
            leave(stream).await;
        }
    }
    Ok(())
}

/// Ends the connection with a FIN, having read what the backend says first: closing with unread bytes would be a reset,
/// which databases log and count against our address. The backend has passed already, whatever happens here.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let farewell = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(GREETING_LIMIT), &mut tokio::io::sink()).await
    };
    let _ = timeout(FAREWELL, farewell).await;
}
