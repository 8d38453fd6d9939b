//! A socket towards a backend, and what is known of that backend through it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use super::buffers::{Replies, Requests};
use super::errors::is_of_the_backend;
use super::flow::{Condition, FlowId};
use super::overruns::Overruns;
use super::unsent::Unsent;
use crate::balance::{Lease, PendingAnswer};
use crate::metrics::WorkerId;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::Health;
use crate::pool::view::{BackendView, PoolView};
use crate::sys::clock::Tick;
use crate::sys::udp::{self, Receiver, Route, Sender};

/// A flow that gets so many datagrams at once, each by itself, has its socket made for more of them.
const MANY: usize = 4;

/// Errors of one socket that are read in one turn; each stands for at least one datagram that we sent.
const MOST_ERRORS: u32 = 8;

/// A socket that is connected to a backend. Only that backend is heard through it, and ICMP errors about it.
#[derive(Debug)]
pub(super) struct UpstreamSocket {
    socket: OwnedFd,
    backend: Arc<BackendState>,
    addr: SocketAddr,
    /// The version of the snapshot that was last seen to have the backend at this address.
    confirmed: u64,
    /// Whether the backend's machine refused a datagram and none has come from it since.
    is_refused: bool,
    /// Whether the socket is made for many datagrams at once.
    has_large_buffers: bool,
    overruns: Overruns,
    /// The wait for the first reply, and when the first datagram went out; `None` once there was a reply. Dropped without
    /// one, it says nothing: a question that has no answer is no sign of a slow backend.
    pending: Option<(PendingAnswer, Instant)>,
    worker: WorkerId,
    _lease: Lease,
}

/// What to do with datagrams that the machine of a backend refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnRefusal {
    /// Send no more of them there.
    Stop,
    /// Try again: the refusal was of one sent before.
    GoOn,
}

/// How far the datagrams of a flow were sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) unsent: Unsent,
    /// How many datagrams were dealt with when the backend's machine refused; the others were not sent.
    pub(super) refused_after: Option<usize>,
}

/// What is left in a socket that was received from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing; the kernel tells of what comes next.
    Nothing,
    /// Perhaps something, of which the kernel will not tell again.
    Something,
}

impl UpstreamSocket {
    /// A socket to this backend.
    ///
    /// # Errors
    /// What the kernel says about it.
    pub(super) fn connect(backend: &BackendView, version: u64, worker: WorkerId) -> io::Result<Self> {
        // The configuration lets no UDP listener send to a pool with unix sockets in it.
        let Some(Endpoint::Inet(addr)) = backend.endpoint else { return Err(io::ErrorKind::Unsupported.into()) };
        let socket = udp::connect(addr, None)?;
        backend.state.stats.at(worker).flows.add(1);
        Ok(Self {
            socket,
            backend: Arc::clone(&backend.state),
            addr,
            confirmed: version,
            is_refused: false,
            has_large_buffers: false,
            overruns: Overruns::default(),
            pending: Some((backend.state.load.ask(), Instant::now())),
            worker,
            _lease: backend.state.load.lease(),
        })
    }

    /// The backend that it is connected to.
    pub(super) fn backend(&self) -> &Arc<BackendState> {
        &self.backend
    }

    /// Whether the backend's machine refused a datagram and none has come from it since.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether the pool has the backend at this address still. In another pool than before the backend is known by another
    /// name to those who judge its health and count its flows; then the socket counts there from now on.
    pub(super) fn is_in(&mut self, pool: &PoolView, version: u64) -> bool {
        if self.confirmed != version
            && let Some(view) = pool.find(&self.backend.key.backend, &Endpoint::Inet(self.addr))
        {
            self.confirmed = version;
            self.count_with(&view.state);
        }
        self.confirmed == version
    }

    fn count_with(&mut self, backend: &Arc<BackendState>) {
        if !Arc::ptr_eq(&self.backend, backend) {
            // A wait that is begun under one name and ended under another says nothing of either.
            self.pending = None;
            self.backend = Arc::clone(backend);
            self._lease = backend.load.lease();
        }
    }

    /// Counts that the flow has had no reply to as many datagrams as the passive check asks for.
    pub(super) fn count_unanswered(&self) {
        self.backend.stats.at(self.worker).unanswered_flows.add(1);
    }

    /// What is known about the backend now.
    pub(super) fn condition(&mut self, pool: &PoolView, version: u64) -> Condition {
        if !self.is_in(pool, version) || self.backend.health() == Health::Down {
            Condition::Down
        } else if self.is_refused {
            Condition::Refusing
        } else {
            Condition::Serving
        }
    }

    /// Sends all but the first `skipped` datagrams of a flow.
    pub(super) fn send(
        &mut self,
        requests: &Requests<'_>,
        skipped: usize,
        on_refusal: OnRefusal,
        sender: &mut Sender,
    ) -> Sent {
        let mut batch = sender.batch();
        for (segment_size, bytes) in requests.after(skipped) {
            batch.push(Route::CONNECTED, segment_size, bytes);
        }
        let mut unsent = Unsent::default();
        let mut is_stopped = false;
        while !is_stopped && let Err(failure) = batch.send(&self.socket) {
            if is_of_the_backend(&failure.error) {
                self.note_refusal();
                is_stopped = on_refusal == OnRefusal::Stop;
            }
            if !is_stopped {
                unsent.retry_or_skip(&mut batch, &failure.error);
            }
        }
        let (datagrams, bytes) = (batch.taken(), batch.bytes_taken() as u64);
        let stats = self.backend.stats.at(self.worker);
        stats.datagrams_upstream.add(datagrams as u64);
        stats.bytes_upstream.add(bytes);
        let refused_after = is_stopped.then(|| skipped + datagrams + unsent.datagrams());
        Sent { bytes, unsent, refused_after }
    }

    /// Receives what the backend has sent to `flow`, until nothing is left or there is no room. A socket that gets much at
    /// once is given buffers of `large` bytes.
    pub(super) fn receive(
        &mut self,
        flow: FlowId,
        receiver: &mut Receiver,
        replies: &mut Vec<Replies>,
        large: NonZeroU32,
    ) -> Left {
        let (mut errors, mut refusals) = (0, 0);
        let left = loop {
            match receiver.receive_connected(&self.socket) {
                Ok(received) => {
                    if !received.slots.is_empty() {
                        replies.push(self.take_replies(flow, receiver, received.slots, large));
                    }
                    if received.is_drained {
                        break Left::Nothing;
                    }
                    if receiver.is_full() {
                        break Left::Something;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Left::Nothing,
                Err(error) => {
                    errors += 1;
                    refusals += u32::from(is_of_the_backend(&error));
                    if errors == MOST_ERRORS {
                        break Left::Something;
                    }
                }
            }
        };
        // Noted after what was received, which was sent before: the kernel tells of errors first.
        (0..refusals).for_each(|_| self.note_refusal());
        left
    }

    /// Counts what lies in these slots, of which there is at least one.
    fn take_replies(&mut self, flow: FlowId, receiver: &Receiver, slots: Range<usize>, large: NonZeroU32) -> Replies {
        self.note_reply();
        let overruns = self.overruns.since(receiver.at(slots.end - 1).overruns);
        if slots.len() >= MANY {
            self.enlarge_buffers(large);
        }
        let (datagrams, bytes) = receiver.trains(slots.clone()).fold((0_u32, 0), |(datagrams, bytes), train| {
            (datagrams + u32::try_from(train.count()).unwrap_or(u32::MAX), bytes + train.bytes.len() as u64)
        });
        let stats = self.backend.stats.at(self.worker);
        stats.datagrams_downstream.add(datagrams.into());
        stats.bytes_downstream.add(bytes);
        Replies { flow, slots, datagrams, bytes, overruns }
    }

    /// The backend has sent something; the first time says how long it takes to answer.
    fn note_reply(&mut self) {
        self.is_refused = false;
        self.backend.note_answer();
        if let Some((pending, asked_at)) = self.pending.take() {
            let took = asked_at.elapsed();
            pending.answered(took, Tick::now().millis());
            self.backend.stats.at(self.worker).first_byte.observe(took);
        }
    }

    /// ICMP says that the machine of the backend refused a datagram, or cannot be reached.
    fn note_refusal(&mut self) {
        let stats = self.backend.stats.at(self.worker);
        stats.icmp_errors.add(1);
        stats.refused_flows.add(u64::from(!self.is_refused));
        self.is_refused = true;
        self.backend.note_refusal(Tick::now().millis());
    }

    /// Makes room for many datagrams at once, and has the kernel put trains of them together. It takes a few system calls,
    /// which most flows are better off without.
    fn enlarge_buffers(&mut self, bytes: NonZeroU32) {
        if !std::mem::replace(&mut self.has_large_buffers, true) {
            // What the kernel does not grant is done without.
            let _ = udp::set_buffers(&self.socket, bytes.get() as usize);
            let _ = udp::report_overruns(&self.socket);
            let _ = udp::coalesce(&self.socket);
        }
    }
}

impl AsFd for UpstreamSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
