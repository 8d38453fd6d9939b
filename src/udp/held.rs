//! What a flow holds: a socket towards its backend, its places in every limit, and its books.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use super::flow::{Ended, FlowKey};
use crate::balance::{Lease, Request};
use crate::config::AccessLog;
use crate::metrics::WorkerId;
use crate::metrics::reason::{ConnectErrorReason, DropReason, FlowCloseReason};
use crate::metrics::stats::FlowStats;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::Status;
use crate::pool::listener::{ListenerState, Permit};
use crate::pool::snapshot::{BackendView, PoolView};
use crate::pool::sources::SourcePermit;
use crate::sys::clock::Tick;
use crate::sys::socket::ClientAddr;
use crate::sys::udp;
use crate::worker::local::Local;

/// Of flows that are one question and its answer, every so many is recorded: a busy name server has 100,000 a second.
const SAMPLE: u32 = 100;

/// What a flow holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) link: Link,
    pub(super) bytes_up: u64,
    pub(super) bytes_down: u64,
    /// Whether all like it are recorded, or some.
    recording: Recording,
    /// Where it was counted when it began.
    listener: Arc<ListenerState<FlowStats>>,
    _places: Places,
}

/// The places of a flow in the limits of its listener.
#[derive(Debug)]
#[expect(dead_code, reason = "held until the flow ends, and given back by being dropped")]
pub(super) struct Places {
    pub(super) listener: Permit,
    pub(super) source: Option<SourcePermit>,
}

/// Which flows of a listener leave a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// All.
    Each,
    /// One of [`SAMPLE`].
    Sampled,
}

/// A socket that is connected to a backend.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) backend: Arc<BackendState>,
    pub(super) addr: SocketAddr,
    /// The generation of the configuration that was last seen to have the backend at this address.
    pub(super) confirmed: u64,
    /// Whether its machine refused a datagram.
    pub(super) is_refused: bool,
    /// Whether the kernel hands over trains in one piece.
    pub(super) coalesces: bool,
    /// When the first datagram went out; `None` once there was a reply.
    asked_at: Option<Instant>,
    _lease: Lease,
}

impl Held {
    /// Opens the books of a flow.
    pub(super) fn open(
        listener: &Arc<ListenerState<FlowStats>>,
        places: Places,
        link: Link,
        recording: Recording,
        worker: WorkerId,
    ) -> Self {
        let stats = listener.stats.at(worker);
        stats.active.add(1);
        stats.flows.add(1);
        Self { link, bytes_up: 0, bytes_down: 0, recording, listener: Arc::clone(listener), _places: places }
    }
}

impl Link {
    /// A socket to a backend that `pool` picks for this client. `tried` are the backends that are no choice; those that
    /// cannot be reached from here join them.
    ///
    /// # Errors
    /// No backend can be picked, or we have no descriptors or ports left.
    pub(super) fn open(
        pool: &PoolView,
        client: SocketAddr,
        tried: &mut Vec<u16>,
        generation: u64,
        local: &Local,
    ) -> Result<Self, DropReason> {
        loop {
            let (index, backend) = pick(pool, client, tried).ok_or(DropReason::NoBackend)?;
            match Self::to(backend, generation, local) {
                Ok(link) => return Ok(link),
                Err(error) if is_ours(&error) => {
                    if let Some(suppressed) = local.registry.exhaustion.allow(Tick::now()) {
                        tracing::warn!(%error, suppressed, "flows cannot begin, out of resources");
                    }
                    return Err(DropReason::NoResources);
                }
                Err(error) => {
                    let stats = backend.state.stats.at(local.id);
                    stats.connect_errors.at(ConnectErrorReason::Unreachable.index()).add(1);
                    tracing::debug!(backend = backend.state.key.backend.as_str(), %error, "no way to a backend");
                    tried.push(index);
                }
            }
        }
    }

    /// A socket to this backend.
    ///
    /// # Errors
    /// What the kernel says about it.
    pub(super) fn to(backend: &BackendView, generation: u64, local: &Local) -> io::Result<Self> {
        // The configuration lets no UDP listener send to a pool with unix sockets in it.
        let Endpoint::Inet(addr) = backend.endpoint else { return Err(io::ErrorKind::Unsupported.into()) };
        let socket = udp::connect(addr, None)?;
        backend.state.stats.at(local.id).flows.add(1);
        backend.state.load.latency.ask();
        Ok(Self {
            socket,
            backend: Arc::clone(&backend.state),
            addr,
            confirmed: generation,
            is_refused: false,
            coalesces: false,
            asked_at: Some(Instant::now()),
            _lease: backend.state.load.lease(),
        })
    }

    /// Whether the backend is still one of the pool's, at this address.
    pub(super) fn is_current(&mut self, pool: &PoolView, generation: u64) -> bool {
        if self.confirmed != generation && pool.knows(&self.backend.key.backend, &Endpoint::Inet(self.addr)) {
            self.confirmed = generation;
        }
        self.confirmed == generation
    }

    /// The backend has sent something; the first time says how long it takes to answer.
    pub(super) fn answered(&mut self, worker: WorkerId) {
        self.is_refused = false;
        self.backend.note_answer();
        if let Some(asked_at) = self.asked_at.take() {
            let took = asked_at.elapsed();
            self.backend.load.latency.settle(took, Tick::now().millis());
            self.backend.stats.at(worker).first_byte.observe(took);
        }
    }

    /// ICMP says that the machine of the backend refused a datagram, or cannot be reached.
    pub(super) fn refused(&mut self, worker: WorkerId) {
        self.is_refused = true;
        self.backend.note_refusal(Tick::now().millis());
        self.backend.stats.at(worker).icmp_errors.add(1);
    }
}

impl Drop for Link {
    /// A client that asks what nobody answers says nothing of the backend.
    fn drop(&mut self) {
        if self.asked_at.is_some() {
            self.backend.load.latency.give_up();
        }
    }
}

/// A backend for this client that is not known to be down, and its position. One that has just refused a datagram is only
/// taken when there is no other.
pub(super) fn pick<'a>(pool: &'a PoolView, client: SocketAddr, tried: &mut Vec<u16>) -> Option<(u16, &'a BackendView)> {
    let key = pool.key_of(ClientAddr::Inet(client));
    let now_ms = Tick::now().millis();
    let mut second_choice = None;
    while let Some((index, backend)) = pool.pick(Request { key, tried, now_ms, random: fastrand::u64(..) }) {
        // It may have gone down after the pool was last looked at.
        let is_down = backend.state.status() == Status::Down;
        if !is_down && !backend.state.refuses(now_ms) {
            return Some((index, backend));
        }
        tried.push(index);
        second_choice = second_choice.or((!is_down).then_some((index, backend)));
    }
    second_choice
}

/// Whether a socket could not be connected for want of something of ours: descriptors, memory, or ports.
fn is_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory, WouldBlock};
    matches!(error.kind(), AddrInUse | AddrNotAvailable | OutOfMemory | WouldBlock)
        || crate::sys::socket::is_out_of_descriptors(error)
}

/// Closes the books of flows.
#[derive(Debug, Default)]
pub(super) struct AccessRecords {
    /// Flows that are sampled and were not recorded since the last one that was.
    skipped: u32,
}

impl AccessRecords {
    /// Counts a flow that is over and, if it is to be, records it.
    pub(super) fn close(
        &mut self,
        ended: &Ended<Held>,
        reason: FlowCloseReason,
        worker: WorkerId,
        access_log: AccessLog,
    ) {
        let stats = ended.held.listener.stats.at(worker);
        stats.active.sub(1);
        stats.closed.at(reason.index()).add(1);
        // Whoever floods the table does not flood the log too.
        let recording = if reason == FlowCloseReason::Evicted { Recording::Sampled } else { ended.held.recording };
        if access_log == AccessLog::On && self.is_due(recording) {
            write(ended, reason, recording);
        }
    }

    fn is_due(&mut self, recording: Recording) -> bool {
        if recording == Recording::Sampled {
            self.skipped = (self.skipped + 1) % SAMPLE;
        }
        recording == Recording::Each || self.skipped == 1
    }
}

fn write(ended: &Ended<Held>, reason: FlowCloseReason, recording: Recording) {
    let Ended { key: FlowKey { client, .. }, held, requests, responses, began_ms } = ended;
    let key = &held.link.backend.key;
    let sampled = (recording == Recording::Sampled).then_some(SAMPLE);
    tracing::info!(
        target: "evenkeel::access",
        listener = held.listener.name.as_str(),
        %client,
        pool = key.pool.as_str(),
        backend = key.backend.as_str(),
        total_ms = Tick::now().millis().saturating_sub(*began_ms),
        datagrams_up = requests,
        datagrams_down = responses,
        bytes_up = held.bytes_up,
        bytes_down = held.bytes_down,
        reason = reason.label(),
        one_of = sampled,
        "flow closed"
    );
}
