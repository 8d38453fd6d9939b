//! The side towards backends: which sockets have something to receive, which linger, and whether new ones can be had.
//!
//! Sockets of flows are held by the flows. They are watched through one registration with the runtime, and cost no task.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::buffers::Replies;
use super::burst::BurstDetector;
use super::errors::is_ours;
use super::flow::{FlowId, Flows};
use super::lingering::LingeringSockets;
use super::resources::Resources;
use super::upstream_socket::{Left, UpstreamSocket};
use crate::local::Local;
use crate::metrics::reason::ConnectErrorReason;
use crate::pool::view::BackendView;
use crate::sys::clock::Tick;
use crate::sys::epoll::Epoll;
use crate::sys::udp::Receiver;

/// Sockets with something to receive that are learned of at once. Any number does; they are served one after the other.
const READY_SOCKETS: usize = 64;

/// Why there is no socket towards a backend.
#[derive(Debug)]
pub(super) enum OpenError {
    /// There is no way to it from here; another may do.
    Unreachable,
    /// We lack something of our own.
    OutOfResources(io::Error),
    /// We lacked something a moment ago, and the kernel was not asked again.
    StillOutOfResources,
}

/// Opens and watches sockets towards backends, and receives from them.
#[derive(Debug)]
pub(super) struct BackendSide {
    local: Rc<Local>,
    /// The sockets, each known by the token of its flow.
    epoll: Epoll,
    /// Tokens of those that may have something to receive.
    ready: VecDeque<u64>,
    bursts: BurstDetector,
    lingering: LingeringSockets,
    /// When a socket last could not be had for want of something of ours.
    exhausted_at: Option<Tick>,
    /// What the last [`Selection`](crate::pool::selection::Selection) of a backend has left for the next one.
    pub(super) selection_memory: Vec<u16>,
}

impl BackendSide {
    /// No sockets yet; the current runtime watches them.
    ///
    /// # Errors
    /// No descriptors left, or the kernel has no room for another watch.
    pub(super) fn new(local: Rc<Local>) -> io::Result<Self> {
        Ok(Self {
            local,
            epoll: Epoll::new(READY_SOCKETS)?,
            ready: VecDeque::with_capacity(2 * READY_SOCKETS),
            bursts: BurstDetector::default(),
            lingering: LingeringSockets::default(),
            exhausted_at: None,
            selection_memory: Vec::new(),
        })
    }

    /// Opens a socket to this backend.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(super) fn open(&mut self, backend: &BackendView, version: u64, now: Tick) -> Result<UpstreamSocket, OpenError> {
        // To find no free port takes the kernel long; it is asked again when time has moved on.
        if self.exhausted_at == Some(now) {
            return Err(OpenError::StillOutOfResources);
        }
        UpstreamSocket::connect(backend, version, self.local.id).map_err(|error| {
            if is_ours(&error) {
                return OpenError::OutOfResources(error);
            }
            let stats = backend.state.stats.at(self.local.id);
            stats.connect_errors.at(ConnectErrorReason::Unreachable.index()).add(1);
            tracing::debug!(backend = backend.state.key.backend.as_str(), %error, "no way to a backend");
            OpenError::Unreachable
        })
    }

    /// Opens no socket until time moves on, and logs that flows cannot begin, but not too often.
    pub(super) fn note_exhaustion(&mut self, error: &io::Error, now: Tick) {
        self.exhausted_at = Some(now);
        self.warn_of_exhaustion(error, now);
    }

    fn warn_of_exhaustion(&self, error: &io::Error, now: Tick) {
        if let Some(suppressed) = self.local.registry.exhaustion.allow(now) {
            tracing::warn!(%error, suppressed, "flows cannot begin, out of resources");
        }
    }

    /// Watches the socket of a flow for replies; whether the kernel has room for that.
    pub(super) fn watch(&self, socket: &UpstreamSocket, flow: FlowId, now: Tick) -> bool {
        let watched = self.epoll.add(socket, flow.token());
        watched.inspect_err(|error| self.warn_of_exhaustion(error, now)).is_ok()
    }

    /// Keeps the socket of a flow that has moved. From a machine that refuses nothing is to be heard.
    pub(super) fn linger(&mut self, left: FlowId, flow: FlowId, socket: UpstreamSocket, now: Tick) {
        if !socket.is_refused() {
            self.lingering.keep(left, flow, socket, now);
        }
    }

    /// Closes the lingering sockets; whether there were any.
    pub(super) fn close_lingering(&mut self) -> bool {
        self.lingering.clear()
    }

    /// The identity of a flow now, which may have moved since it was known by this one.
    pub(super) fn present(&self, flow: FlowId) -> FlowId {
        self.lingering.moved_to(flow).unwrap_or(flow)
    }

    /// Ready when backends have sent something; if nothing has come, the task is woken when something does.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.epoll.poll_ready(cx).map(|_result| ())
    }

    /// Whether backends may have sent something that was not received yet.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty() || self.epoll.has_more()
    }

    /// Whether more is likely to follow at once what has come.
    pub(super) fn expects_burst(&self) -> bool {
        self.epoll.has_more() && self.bursts.expects_burst()
    }

    /// Receives what backends have sent, as much as there is room for. Sockets that get much at once are given buffers of
    /// `large` bytes.
    pub(super) fn receive(
        &mut self,
        flows: &mut Flows<Resources>,
        receiver: &mut Receiver,
        replies: &mut Vec<Replies>,
        large: NonZeroU32,
    ) {
        while self.ready.len() < READY_SOCKETS
            && let Some(token) = self.epoll.take()
        {
            // One that was not emptied in its last turn is there already.
            if !self.ready.contains(&token) {
                self.ready.push_back(token);
            }
        }
        for _ in 0..self.ready.len() {
            if receiver.is_full() {
                break;
            }
            let Some(token) = self.ready.pop_front() else { break };
            let flow = FlowId::from_token(token);
            let (flow, socket) = match flows.get_mut(flow) {
                Some(resources) => (flow, &mut resources.socket),
                None => match self.lingering.get_mut(token) {
                    Some(lingering) => (lingering.flow, &mut lingering.socket),
                    // It has ended since the kernel told of it.
                    None => continue,
                },
            };
            if socket.receive(flow, receiver, replies, large) == Left::Something {
                self.ready.push_back(token);
            }
        }
        let pieces = replies.iter().map(|replies| replies.slots.len()).sum();
        self.bursts.observe(pieces, replies.len());
    }

    /// When [`BackendSide::expire`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.lingering.deadline()
    }

    /// Closes the sockets that have lingered for long enough.
    pub(super) fn expire(&mut self, now: Tick) {
        self.lingering.expire(now);
    }

    /// Forgets all sockets: those of flows are gone.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.lingering.clear();
    }
}
