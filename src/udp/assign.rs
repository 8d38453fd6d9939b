//! Which flow a datagram belongs to, and which backend that has.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::flow::{Condition, FlowId, FlowKey, NextHop, Occupancy};
use super::resources::{Held, Recording};
use super::upstream_socket::{Link, is_ours};
use super::{Forwarder, Turn};
use crate::config::{Assignment, Quota};
use crate::metrics::reason::{ConnectErrorReason, DropReason, FlowCloseReason};
use crate::pool::admission::{Full, Limits, Permits};
use crate::pool::health::Status;
use crate::pool::selection::{Refusing, Selection};
use crate::pool::view::{BackendView, PoolView};
use crate::sys::socket::ClientAddr;

/// Why there is no socket towards a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoLink {
    /// There is no way to it from here; another may do.
    Unreachable,
    /// There is to be none at all.
    Dropped(DropReason),
}

impl From<DropReason> for NoLink {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

impl Forwarder {
    /// The one flow of a client, wherever it goes on to.
    pub(super) fn flow_of(&mut self, key: FlowKey, turn: &Turn<'_>) -> Result<FlowId, DropReason> {
        let Some(flow) = self.flows.find(&key) else {
            let permits = self.permits(key.client, turn)?;
            let selection = self.select(&turn.view.pool, key.client, Refusing::Last);
            let link = self.link(selection, turn)?;
            return self.begin(key, link, permits, turn);
        };
        let Some(held) = self.flows.get_mut(flow) else { return Ok(flow) };
        let condition = condition(&mut held.link, turn);
        match self.flows.next_hop(flow, condition, turn.now.millis()) {
            NextHop::Same => Ok(flow),
            NextHop::Other => Ok(self.change_backend(flow, key.client, turn)),
        }
    }

    /// The flow of a client with the backend that is picked for its next datagram.
    pub(super) fn lane_of(&mut self, key: FlowKey, turn: &Turn<'_>) -> Result<FlowId, DropReason> {
        let mut selection = self.select(&turn.view.pool, key.client, Refusing::Last);
        let lane = loop {
            let Some(backend) = selection.next(turn.now.millis(), fastrand::u64(..)) else {
                break Err(DropReason::NoBackend);
            };
            let key = FlowKey { backend: backend.state.hash_key(), ..key };
            match self.lane_to(key, backend, turn) {
                Ok(flow) => break Ok(flow),
                Err(NoLink::Unreachable) => {}
                Err(NoLink::Dropped(reason)) => break Err(reason),
            }
        };
        self.tried = selection.into_memory();
        lane
    }

    /// The flow of a client with this backend.
    fn lane_to(&mut self, key: FlowKey, backend: &BackendView, turn: &Turn<'_>) -> Result<FlowId, NoLink> {
        let Some(flow) = self.flows.find(&key) else {
            let permits = self.permits(key.client, turn)?;
            let link = self.connect(backend, turn)?;
            return Ok(self.begin(key, link, permits, turn)?);
        };
        let is_current = |held: &mut Held| held.link.is_current(&turn.view.pool, turn.snapshot.generation);
        if self.flows.get_mut(flow).is_some_and(is_current) {
            return Ok(flow);
        }
        // The backend is at another address now.
        let link = self.connect(backend, turn)?;
        Ok(self.relink(flow, link, turn))
    }

    /// Where the rest goes of what this flow's backend has refused a part of.
    pub(super) fn detour(&mut self, flow: FlowId, key: FlowKey, datagrams: usize, turn: &Turn<'_>) -> FlowId {
        match turn.view.config.assignment {
            Assignment::PerPacket => {
                let lane = self.lane_of(key, turn).unwrap_or(flow);
                if lane != flow {
                    // Its replies are waited for there.
                    let datagrams = u32::try_from(datagrams).unwrap_or(u32::MAX);
                    let _taken = self.flows.take_requests(lane, datagrams, turn.now.millis());
                }
                lane
            }
            Assignment::PerFlow => match self.flows.next_hop(flow, Condition::Refusing, turn.now.millis()) {
                NextHop::Same => flow,
                NextHop::Other => self.change_backend(flow, key.client, turn),
            },
        }
    }

    /// Permits for one more flow, if this client may begin one at all. If need be, others make room.
    fn permits(&mut self, client: SocketAddr, turn: &Turn<'_>) -> Result<Permits, DropReason> {
        if self.own_addrs.contain(client, &turn.snapshot.udp_addrs, turn.now) {
            return Err(DropReason::OwnAddress);
        }
        let source = turn.view.config.max_flows_per_source.map(|most| (client.ip(), most.get()));
        let admission = &turn.view.state.admission;
        let of_source = source.map_or(0, |(ip, _)| admission.admitted_from(ip));
        let occupancy = Occupancy { flows: admission.admitted(), of_source };
        for _ in 0..self.flows.admit(occupancy, turn.now.millis())? {
            self.evict(turn);
        }
        // Another worker may have been faster. Then the client's next datagram asks again.
        let limits = Limits { listener: turn.view.config.max_flows.get(), process: None, source };
        admission.admit(limits).map_err(|full| match full {
            Full::Source => DropReason::SourceLimit,
            Full::Listener | Full::Process => DropReason::TableFull,
        })
    }

    /// Ends the flow that never had an answer and is silent the longest; whether there was one, and time for it.
    fn evict(&mut self, turn: &Turn<'_>) -> bool {
        let evicted = self.flows.evict(turn.now.millis());
        let had_one = evicted.is_some();
        if let Some(evicted) = evicted {
            self.close(evicted, FlowCloseReason::Evicted);
        }
        had_one
    }

    /// The backends of a pool that a client may be sent to.
    fn select<'a>(&mut self, pool: &'a PoolView, client: SocketAddr, refusing: Refusing) -> Selection<'a> {
        let key = pool.key_of(ClientAddr::Inet(client));
        Selection::reusing(std::mem::take(&mut self.tried), pool, key, refusing)
    }

    /// A socket to the first of those selected that there is a way to.
    fn link(&mut self, mut selection: Selection<'_>, turn: &Turn<'_>) -> Result<Link, DropReason> {
        let link = loop {
            let Some(backend) = selection.next(turn.now.millis(), fastrand::u64(..)) else {
                break Err(DropReason::NoBackend);
            };
            match self.connect(backend, turn) {
                Ok(link) => break Ok(link),
                Err(NoLink::Unreachable) => {}
                Err(NoLink::Dropped(reason)) => break Err(reason),
            }
        };
        self.tried = selection.into_memory();
        link
    }

    /// A socket to this backend.
    fn connect(&mut self, backend: &BackendView, turn: &Turn<'_>) -> Result<Link, NoLink> {
        // To find no free port takes the kernel long; it is asked again when time has moved on.
        if self.exhausted_at == Some(turn.now) {
            return Err(DropReason::NoResources.into());
        }
        let mut result = Link::to(backend, turn.snapshot.generation, self.local.id);
        if result.as_ref().is_err_and(is_ours) && (self.formers.clear() || self.evict(turn)) {
            result = Link::to(backend, turn.snapshot.generation, self.local.id);
        }
        result.map_err(|error| {
            if is_ours(&error) {
                self.exhausted_at = Some(turn.now);
                self.complain(&error, turn);
                return DropReason::NoResources.into();
            }
            let stats = backend.state.stats.at(self.local.id);
            stats.connect_errors.at(ConnectErrorReason::Unreachable.index()).add(1);
            tracing::debug!(backend = backend.state.key.backend.as_str(), %error, "no way to a backend");
            NoLink::Unreachable
        })
    }

    /// Says that flows cannot begin, but not too often.
    fn complain(&self, error: &io::Error, turn: &Turn<'_>) {
        if let Some(suppressed) = self.local.registry.exhaustion.allow(turn.now) {
            tracing::warn!(%error, suppressed, "flows cannot begin, out of resources");
        }
    }

    fn begin(&mut self, key: FlowKey, link: Link, permits: Permits, turn: &Turn<'_>) -> Result<FlowId, DropReason> {
        let is_one_shot = turn.view.config.requests == Quota::Exactly(NonZeroU32::MIN);
        let is_sampled = is_one_shot || turn.view.config.assignment == Assignment::PerPacket;
        let recording = if is_sampled { Recording::Sampled } else { Recording::Each };
        let held = Held::open(&turn.view.state, permits, link, recording, self.local.id);
        let flow = self.flows.begin(key, held, turn.now.millis());
        self.watch_link(flow, turn)?;
        Ok(flow)
    }

    /// Has the runtime tell of replies to this flow.
    fn watch_link(&mut self, flow: FlowId, turn: &Turn<'_>) -> Result<(), DropReason> {
        let Some(held) = self.flows.get(flow) else { return Ok(()) };
        self.epoll.add(&held.link.socket, flow.token()).map_err(|error| {
            self.complain(&error, turn);
            self.end(flow, FlowCloseReason::Internal);
            DropReason::NoResources
        })
    }

    /// Gives a flow another backend, if there is one to be had; otherwise it stays where it is.
    fn change_backend(&mut self, flow: FlowId, client: SocketAddr, turn: &Turn<'_>) -> FlowId {
        let Some(held) = self.flows.get(flow) else { return flow };
        // One that has just refused may still seem to be a choice, unlike one that is down; another that refuses would be no
        // better.
        let refused = held.link.is_refused.then(|| Arc::clone(&held.link.backend));
        let refusing = if refused.is_some() { Refusing::Excluded } else { Refusing::Last };
        let mut selection = self.select(&turn.view.pool, client, refusing);
        if let Some(refused) = refused {
            selection.exclude(&refused);
        }
        let Ok(link) = self.link(selection, turn) else { return flow };
        self.relink(flow, link, turn)
    }

    /// Goes on with another socket.
    fn relink(&mut self, flow: FlowId, link: Link, turn: &Turn<'_>) -> FlowId {
        let Some(moved) = self.flows.renew(flow) else { return flow };
        if let Some(held) = self.flows.get_mut(moved) {
            let left = held.move_to(link);
            // From a machine that refuses nothing is to be heard.
            if !left.is_refused {
                self.formers.keep(flow, moved, left, turn.now);
            }
        }
        // Without a watch the flow is ended, and its client begins another.
        let _watched = self.watch_link(moved, turn);
        moved
    }

    pub(super) fn end(&mut self, flow: FlowId, reason: FlowCloseReason) {
        if let Some(ended) = self.flows.end(flow) {
            self.close(ended, reason);
        }
    }
}

/// What is known about the backend of a flow now.
fn condition(link: &mut Link, turn: &Turn<'_>) -> Condition {
    if !link.is_current(&turn.view.pool, turn.snapshot.generation) || link.backend.status() == Status::Down {
        Condition::Down
    } else if link.is_refused {
        Condition::Refusing
    } else {
        Condition::Serving
    }
}
