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
use crate::worker::sessions::{Entry, InVain};

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
    entry: &Entry<'_>,
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
        match attempt(&backend.endpoint, pool.config.connect_timeout, client, entry).await? {
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

/// One attempt at one backend; the outer error ends the session.
async fn attempt(
    endpoint: &Endpoint,
    limit: Duration,
    client: &Socket,
    entry: &Entry<'_>,
) -> Result<io::Result<Socket>, CloseReason> {
    let begun = match endpoint {
        Endpoint::Inet(addr) => socket::connect_tcp(*addr).and_then(Socket::new),
        Endpoint::Unix(path) => return Ok(socket::connect_unix(path).and_then(Socket::new)),
    };
    let Ok(socket) = begun else { return Ok(begun) };
    let established = async {
        tokio::select! {
            biased;
            established = socket.established() => Some(established),
            () = client.left(ABANDONED_GRACE) => None,
        }
    };
    match entry.within(limit, established).await {
        Ok(Some(Ok(()))) => Ok(Ok(socket)),
        Ok(Some(Err(error))) => Ok(Err(error)),
        Ok(None) => Err(CloseReason::ClientLeft),
        Err(InVain::Expired) => Ok(Err(io::ErrorKind::TimedOut.into())),
        Err(InVain::Ordered(reason)) => Err(reason),
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
