//! Which flow a datagram belongs to, and which backend that has.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::backend_side::{BackendSide, OpenError};
use super::batch_context::BatchContext;
use super::flow::{Condition, FlowId, FlowKey, NextHop, Taken};
use super::live_flows::LiveFlows;
use super::upstream_socket::UpstreamSocket;
use crate::config::Assignment;
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::pool::admission::Permits;
use crate::pool::selection::{Refusing, Selection};
use crate::pool::view::{BackendView, PoolView};
use crate::sys::socket::ClientAddr;

/// Assigns datagrams of clients to flows, and flows to backends: begins flows and moves them.
#[derive(Debug)]
pub(super) struct Assigner<'a> {
    pub(super) flows: &'a mut LiveFlows,
    pub(super) backends: &'a mut BackendSide,
    pub(super) context: &'a BatchContext<'a>,
}

/// Why a datagram has no flow yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoFlow {
    /// There is no way to this backend; another may do.
    Unreachable,
    /// The datagram is dropped.
    Dropped(DropReason),
}

impl From<DropReason> for NoFlow {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

impl<'a> Assigner<'a> {
    /// The flow that takes the next of `datagrams` of a client, and how many of them it takes.
    ///
    /// # Errors
    /// None takes them.
    pub(super) fn assign(&mut self, client: FlowKey, datagrams: u32) -> Result<(FlowId, u32), DropReason> {
        let (flow, datagrams) = match self.context.view.config.assignment {
            Assignment::PerFlow => (self.flow_of_client(client)?, datagrams),
            Assignment::PerPacket => (self.flow_of_packet(client)?, 1),
        };
        // The flow was found or begun a moment ago.
        let now_ms = self.context.now.millis();
        let taken = self.flows.table.take_requests(flow, datagrams, now_ms).ok_or(DropReason::NoResources)?;
        self.count_unanswered(flow, taken);
        Ok((flow, taken.datagrams))
    }

    /// The flow that takes the rest of what a flow's backend has refused a part of.
    pub(super) fn reassign(&mut self, flow: FlowId, client: FlowKey, datagrams: usize) -> FlowId {
        let now_ms = self.context.now.millis();
        match self.context.view.config.assignment {
            Assignment::PerPacket => {
                let other = self.flow_of_packet(client).unwrap_or(flow);
                if other != flow {
                    // Its replies are waited for there.
                    let datagrams = u32::try_from(datagrams).unwrap_or(u32::MAX);
                    let _taken = self.flows.table.take_requests(other, datagrams, now_ms);
                }
                other
            }
            Assignment::PerFlow => match self.flows.table.next_hop(flow, Condition::Refusing, now_ms) {
                NextHop::Same => flow,
                NextHop::Other => self.move_flow(flow, client.client),
            },
        }
    }

    /// The one flow of a client, whichever backend it has.
    fn flow_of_client(&mut self, client: FlowKey) -> Result<FlowId, DropReason> {
        let Some(flow) = self.flows.table.find(&client) else {
            let permits = self.flows.admit(client.client, self.context)?;
            let selection = self.select(client.client, Refusing::Last);
            let socket = self.open_first(selection)?;
            return self.begin(client, socket, permits);
        };
        let Some(resources) = self.flows.table.get_mut(flow) else { return Ok(flow) };
        let BatchContext { snapshot, view, now } = self.context;
        let condition = resources.socket.condition(&view.pool, snapshot.version);
        match self.flows.table.next_hop(flow, condition, now.millis()) {
            NextHop::Same => Ok(flow),
            NextHop::Other => Ok(self.move_flow(flow, client.client)),
        }
    }

    /// The flow of a client with the backend that is selected for its next datagram.
    fn flow_of_packet(&mut self, client: FlowKey) -> Result<FlowId, DropReason> {
        let selection = self.select(client.client, Refusing::Last);
        self.first_reachable(selection, |assigner, backend| assigner.flow_with(backend, client))
    }

    /// The flow of a client with this backend.
    fn flow_with(&mut self, backend: &BackendView, client: FlowKey) -> Result<FlowId, NoFlow> {
        let key = FlowKey { backend: backend.state.hash_key(), ..client };
        let Some(flow) = self.flows.table.find(&key) else {
            let permits = self.flows.admit(client.client, self.context)?;
            let socket = self.open(backend)?;
            return Ok(self.begin(key, socket, permits)?);
        };
        let BatchContext { snapshot, view, .. } = self.context;
        let resources = self.flows.table.get_mut(flow);
        if resources.is_some_and(|resources| resources.socket.is_in(&view.pool, snapshot.version)) {
            return Ok(flow);
        }
        // The backend is at another address now.
        let socket = self.open(backend)?;
        Ok(self.replace_socket(flow, socket))
    }

    /// Gives a flow another backend, if there is one to be had; otherwise it stays where it is.
    fn move_flow(&mut self, flow: FlowId, client: SocketAddr) -> FlowId {
        let Some(resources) = self.flows.table.get(flow) else { return flow };
        // A backend that has just refused may still seem to be a choice, unlike one that is down. Another that refuses would
        // be no better.
        let refused = resources.socket.is_refused().then(|| Arc::clone(resources.socket.backend()));
        let mut selection = self.select(client, if refused.is_some() { Refusing::Excluded } else { Refusing::Last });
        if let Some(refused) = refused {
            selection.exclude(&refused);
        }
        match self.open_first(selection) {
            Ok(socket) => self.replace_socket(flow, socket),
            Err(_) => flow,
        }
    }

    /// The backends that a client may be sent to.
    fn select(&mut self, client: SocketAddr, refusing: Refusing) -> Selection<'a> {
        let pool: &'a PoolView = &self.context.view.pool;
        let key = pool.key_of(ClientAddr::Inet(client));
        Selection::reusing(std::mem::take(&mut self.backends.selection_memory), pool, key, refusing)
    }

    /// A socket to the first of those selected that there is a way to.
    fn open_first(&mut self, selection: Selection<'a>) -> Result<UpstreamSocket, DropReason> {
        self.first_reachable(selection, Self::open)
    }

    /// What `attempt` makes of the first of those selected that there is a way to.
    fn first_reachable<T>(
        &mut self,
        mut selection: Selection<'a>,
        mut attempt: impl FnMut(&mut Self, &BackendView) -> Result<T, NoFlow>,
    ) -> Result<T, DropReason> {
        let first = loop {
            let Some(backend) = selection.next(self.context.now.millis(), fastrand::u64(..)) else {
                break Err(DropReason::NoBackend);
            };
            match attempt(self, backend) {
                Ok(first) => break Ok(first),
                Err(NoFlow::Unreachable) => {}
                Err(NoFlow::Dropped(reason)) => break Err(reason),
            }
        };
        self.backends.selection_memory = selection.into_memory();
        first
    }

    /// A socket to this backend. When we lack something of our own, lingering sockets make room, then a flow.
    fn open(&mut self, backend: &BackendView) -> Result<UpstreamSocket, NoFlow> {
        let (version, now) = (self.context.snapshot.version, self.context.now);
        let mut opened = self.backends.open(backend, version, now);
        if matches!(opened, Err(OpenError::OutOfResources(_)))
            && (self.backends.close_lingering() || self.flows.evict(now))
        {
            opened = self.backends.open(backend, version, now);
        }
        opened.map_err(|error| match error {
            OpenError::Unreachable => NoFlow::Unreachable,
            OpenError::OutOfResources(error) => {
                self.backends.note_exhaustion(&error, now);
                DropReason::NoResources.into()
            }
            OpenError::StillOutOfResources => DropReason::NoResources.into(),
        })
    }

    fn begin(&mut self, key: FlowKey, socket: UpstreamSocket, permits: Permits) -> Result<FlowId, DropReason> {
        let flow = self.flows.begin(key, socket, permits, self.context);
        if self.watch(flow) { Ok(flow) } else { Err(DropReason::NoResources) }
    }

    /// Goes on with another socket.
    fn replace_socket(&mut self, flow: FlowId, socket: UpstreamSocket) -> FlowId {
        let Some(moved) = self.flows.table.renew(flow) else { return flow };
        if let Some(resources) = self.flows.table.get_mut(moved) {
            let left = resources.replace_socket(socket);
            self.backends.linger(flow, moved, left, self.context.now);
        }
        // Without a watch the flow is ended, and its client begins another.
        let _is_watched = self.watch(moved);
        moved
    }

    /// Watches the socket of a flow for replies. A flow that cannot be watched is ended.
    fn watch(&mut self, flow: FlowId) -> bool {
        let Some(resources) = self.flows.table.get(flow) else { return true };
        let is_watched = self.backends.watch(&resources.socket, flow, self.context.now);
        if !is_watched {
            self.flows.end(flow, FlowCloseReason::Internal);
        }
        is_watched
    }

    /// Counts a flow that has come to have so many datagrams without a reply as the passive check asks for; or all that it
    /// may have, if those are fewer.
    fn count_unanswered(&self, flow: FlowId, taken: Taken) {
        let view = self.context.view;
        let Some(check) = &view.pool.config.passive_check else { return };
        let most = view.config.requests.unwrap_or(NonZeroU32::MAX);
        let threshold = check.unanswered.min(most).get();
        if taken.unreplied >= threshold
            && taken.unreplied - taken.datagrams < threshold
            && let Some(resources) = self.flows.table.get(flow)
        {
            resources.socket.count_unanswered();
        }
    }
}
