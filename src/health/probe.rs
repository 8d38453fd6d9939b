//! One backend's probes, one after another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::Verdict;
use crate::config::HealthCheck;
use crate::control::Event;
use crate::hash;
use crate::pool::backend::{BackendKey, Endpoint};
use crate::pool::health::{ProbeResult, jittered};

/// What a backend may say to a probe before we stop listening; a greeting is far shorter.
const GREETING_LIMIT: u64 = 64 << 10;

/// Where a task sends its results.
#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) key: BackendKey,
    pub(super) task: u64,
    pub(super) events: mpsc::Sender<Event>,
}

/// Probes until it is aborted. The first probe is made at once.
pub(super) async fn probe(endpoint: Endpoint, check: HealthCheck, in_flight: Arc<Semaphore>, reporter: Reporter) {
    let mut due = Instant::now();
    for turn in 0_u64.. {
        sleep_until(due).await;
        let result = {
            // Closed only when the control task is gone.
            let Ok(_permit) = in_flight.acquire().await else { return };
            connect(&endpoint, check.timeout).await
        };
        let (result, reason) = match result {
            Ok(()) => (ProbeResult::Passed, None),
            Err(error) => (ProbeResult::Failed, Some(error.to_string())),
        };
        let verdict = Verdict { key: reporter.key.clone(), task: reporter.task, result, reason };
        if reporter.events.send(Event::Probed(verdict)).await.is_err() {
            return;
        }
        let random = hash::hash(reporter.key.backend.as_str().as_bytes(), turn ^ (reporter.task << 32));
        due = (due + jittered(check.interval, random)).max(Instant::now());
    }
}

/// Connects and leaves in order, within `limit` for the connection and once more for the farewell.
async fn connect(endpoint: &Endpoint, limit: Duration) -> io::Result<()> {
    match endpoint {
        Endpoint::Inet(addr) => {
            let stream = timeout(limit, TcpStream::connect(addr)).await??;
            leave(stream, limit).await;
        }
        Endpoint::Unix(path) => {
            let stream = timeout(limit, UnixStream::connect(path)).await??;
            leave(stream, limit).await;
        }
    }
    Ok(())
}

/// Ends the connection with a FIN, having read what the backend says first: closing with unread bytes would be a reset,
/// which databases log and count against our address. The backend has passed already, whatever happens here.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin, limit: Duration) {
    let farewell = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(GREETING_LIMIT), &mut tokio::io::sink()).await
    };
    let _ = timeout(limit, farewell).await;
}
