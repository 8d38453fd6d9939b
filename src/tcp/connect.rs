//! Finding a backend that answers.
//!
//! A failed attempt goes to a different backend at once, up to `connect_attempts`. A client that leaves meanwhile cancels
//! the attempt, and nothing is charged to the backend.

use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::outcome::{Connected, Outcome};
use super::socket::Socket;
use crate::balance::Lease;
use crate::local::Local;
use crate::local::sessions::{SessionTimer, WaitError};
use crate::metrics::reason::{CloseReason, ConnectErrorReason};
use crate::metrics::stats::BackendStats;
use crate::pool::backend::Endpoint;
use crate::pool::registry::Registry;
use crate::pool::selection::{Refusing, Selection};
use crate::pool::view::{BackendView, PoolView};
use crate::sys::clock::Tick;
use crate::sys::errno::{self, Cause};
use crate::sys::socket;

/// A client that ended its stream without a word has most likely closed the connection, but it may also be waiting for
/// a backend that speaks first (`nc host port </dev/null`). A backend that answers within this time serves it.
const ABANDONED_GRACE: Duration = Duration::from_millis(500);

/// How soon a unix backend whose queue was full is tried again: about as long as it takes to accept a few connections.
const UNIX_QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// A backend that answered.
#[derive(Debug)]
pub(super) struct Upstream<'a> {
    pub(super) socket: Socket,
    pub(super) backend: &'a BackendView,
    /// Counts the session as outstanding on the backend.
    pub(super) lease: Lease,
    /// How often the backend's sessions had been ordered to close before this attempt.
    pub(super) cuts: u32,
}

/// Connects a session whose client hashes to `key` to a backend of `pool`.
pub(super) async fn connect<'a>(
    pool: &'a PoolView,
    key: u64,
    client: &Socket,
    local: &Local,
    timer: &SessionTimer<'_>,
    outcome: &mut Outcome,
) -> Result<Upstream<'a>, CloseReason> {
    let mut selection = Selection::new(pool, key, Refusing::Equal);
    while outcome.tried.len() < usize::from(pool.config.connect_attempts.get())
        && let Some(backend) = selection.next(Tick::now().millis(), fastrand::u64(..))
    {
        // A backend without an address is never picked.
        let Some(endpoint) = &backend.endpoint else { continue };
        let cuts = backend.state.cuts();
        let lease = backend.state.load.lease();
        let stats = backend.state.stats.at(local.id);
        if !outcome.tried.is_empty() {
            stats.retries.add(1);
        }
        outcome.tried.push(backend.state.clone());

        let began_at = Instant::now();
        // Apart, because it is larger than the relay that follows: within the session it would be kept for all its life.
        let attempt = Box::pin(attempt(endpoint, pool.config.connect_timeout, client, timer));
        match attempt.await? {
            Ok(socket) => {
                let took = began_at.elapsed();
                stats.sessions.add(1);
                stats.connect.observe(took);
                outcome.connected = Some(Connected { at: began_at + took, took });
                return Ok(Upstream { socket, backend, lease, cuts });
            }
            Err(error) => charge(stats, backend, &error, pool.config.connect_timeout, &local.registry),
        }
    }
    Err(if outcome.tried.is_empty() { CloseReason::NoBackend } else { CloseReason::ConnectFailed })
}

/// One attempt at one backend; the outer error ends the session.
async fn attempt(
    endpoint: &Endpoint,
    limit: Duration,
    client: &Socket,
    timer: &SessionTimer<'_>,
) -> Result<io::Result<Socket>, CloseReason> {
    let connected = pin!(async {
        tokio::select! {
            biased;
            connected = reach(endpoint) => Some(connected),
            () = client.left(ABANDONED_GRACE) => None,
        }
    });
    match timer.within(limit, connected).await {
        Ok(Some(connected)) => Ok(connected),
        Ok(None) => Err(CloseReason::ClientLeft),
        Err(WaitError::Expired) => Ok(Err(io::ErrorKind::TimedOut.into())),
        Err(WaitError::Ending(reason)) => Err(reason),
    }
}

/// Connects, however long it takes.
async fn reach(endpoint: &Endpoint) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Inet(addr) => {
            let socket = Socket::connecting(socket::connect_tcp(*addr)?)?;
            socket.established().await?;
            Ok(socket)
        }
        // The kernel connects at once, or says that the backend's queue is full and offers nothing to wait for.
        Endpoint::Unix(path) => loop {
            match socket::connect_unix(path) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(UNIX_QUEUE_PAUSE).await,
                connected => return Socket::connecting(connected?),
            }
        },
    }
}

/// Counts a failed attempt. To the latency it is an answer that took as long as one may take: a backend that refuses at
/// once must not seem fast.
fn charge(stats: &BackendStats, backend: &BackendView, error: &io::Error, limit: Duration, registry: &Registry) {
    let reason = classify(error);
    let now = Tick::now();
    stats.connect_errors.at(reason.index()).add(1);
    if reason != ConnectErrorReason::Local {
        backend.state.load.latency.observe(limit, now.millis());
    } else if let Some(suppressed) = registry.exhaustion.allow(now) {
        tracing::warn!(%error, suppressed, "connecting to backends fails, out of resources");
    }
    tracing::debug!(
        pool = backend.state.key.pool.as_str(),
        backend = backend.state.key.backend.as_str(),
        reason = reason.label(),
        %error,
        "connect failed"
    );
}

/// What a failed attempt says of the backend. What we lack ourselves says nothing.
fn classify(error: &io::Error) -> ConnectErrorReason {
    match errno::cause(error) {
        Cause::Refused | Cause::Reset => ConnectErrorReason::Refused,
        Cause::TimedOut => ConnectErrorReason::Timeout,
        Cause::Unreachable | Cause::Prohibited | Cause::Forbidden => ConnectErrorReason::Unreachable,
        Cause::NoAddress | Cause::Exhausted | Cause::QueueFull => ConnectErrorReason::Local,
        Cause::WouldBlock | Cause::Interrupted | Cause::Protocol | Cause::Other => ConnectErrorReason::Other,
    }
}
