//! Finding a backend that answers.
//!
//! A failed attempt goes to a different backend at once, up to `connect_attempts`. A client that leaves meanwhile cancels
//! the attempt, and nothing is charged to the backend.

use std::io;
use std::time::{Duration, Instant};

use super::outcome::{Connected, Outcome};
use super::socket::Socket;
use crate::balance::{Lease, Request};
use crate::metrics::WorkerId;
use crate::metrics::reason::{CloseReason, ConnectErrorReason};
use crate::metrics::stats::BackendStats;
use crate::pool::backend::Endpoint;
use crate::pool::snapshot::{BackendView, PoolView};
use crate::sys::socket;

/// A client that ended its stream without a word has most likely closed the connection, but it may also be waiting for
/// a backend that speaks first (`nc host port </dev/null`). A backend that answers within this time serves it.
const ABANDONED_GRACE: Duration = Duration::from_millis(500);

/// A backend that answered.
#[derive(Debug)]
pub(super) struct Upstream<'a> {
    pub(super) socket: Socket,
    pub(super) backend: &'a BackendView,
    /// Counts the session as outstanding on the backend.
    pub(super) lease: Lease,
}

/// Connects a session whose client hashes to `key` to a backend of `pool`.
pub(super) async fn connect<'a>(
    pool: &'a PoolView,
    key: u64,
    client: &Socket,
    worker: WorkerId,
    outcome: &mut Outcome,
) -> Result<Upstream<'a>, CloseReason> {
    let mut tried = Vec::new();
    while tried.len() < usize::from(pool.config.connect_attempts.get()) {
        let Some((index, backend)) = pool.pick(Request { key, tried: &tried }) else { break };
        let lease = backend.state.load.lease();
        let stats = backend.state.stats.at(worker);
        if !tried.is_empty() {
            stats.retries.add(1);
        }
        tried.push(index);
        outcome.tried.push(backend.state.clone());

        let began_at = Instant::now();
        let attempt = tokio::select! {
            biased;
            attempt = attempt(&backend.endpoint, pool.config.connect_timeout) => attempt,
            () = client.left(ABANDONED_GRACE) => return Err(CloseReason::ClientLeft),
        };
        match attempt {
            Ok(socket) => {
                let took = began_at.elapsed();
                stats.sessions.add(1);
                stats.connect.observe(took);
                outcome.connected = Some(Connected { at: began_at + took, took });
                return Ok(Upstream { socket, backend, lease });
            }
            Err(error) => charge(stats, backend, &error),
        }
    }
    Err(if tried.is_empty() { CloseReason::NoBackend } else { CloseReason::ConnectFailed })
}

/// One attempt at one backend.
async fn attempt(endpoint: &Endpoint, timeout: Duration) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Inet(addr) => {
            let socket = Socket::new(socket::connect_tcp(*addr)?)?;
            tokio::time::timeout(timeout, socket.established()).await??;
            Ok(socket)
        }
        Endpoint::Unix(path) => Socket::new(socket::connect_unix(path)?),
    }
}

/// Counts a failed attempt.
fn charge(stats: &BackendStats, backend: &BackendView, error: &io::Error) {
    let reason = classify(error);
    stats.connect_errors.at(reason.index()).add(1);
    tracing::debug!(
        pool = backend.state.key.pool.as_str(),
        backend = backend.state.key.backend.as_str(),
        reason = reason.label(),
        %error,
        "connect failed"
    );
}

fn classify(error: &io::Error) -> ConnectErrorReason {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
        NotFound, OutOfMemory, PermissionDenied, TimedOut, WouldBlock,
    };
    match error.kind() {
        ConnectionRefused | ConnectionReset | NotFound => ConnectErrorReason::Refused,
        TimedOut => ConnectErrorReason::Timeout,
        HostUnreachable | NetworkUnreachable | NetworkDown | PermissionDenied => ConnectErrorReason::Unreachable,
        AddrNotAvailable | OutOfMemory => ConnectErrorReason::Local,
        // A unix socket whose queue is full.
        WouldBlock => ConnectErrorReason::Other,
        _ if socket::is_out_of_descriptors(error) => ConnectErrorReason::Local,
        _ => ConnectErrorReason::Other,
    }
}
