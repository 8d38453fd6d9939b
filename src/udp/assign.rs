//! Which flow a datagram belongs to, and which backend that has.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::flow::{FlowId, FlowKey, Onward, Standing};
use super::held::{Held, Link, Places, Recording, pick};
use super::{Forwarder, Order, Turn};
use crate::config::{Assignment, Quota};
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::pool::health::Status;
use crate::pool::snapshot::BackendView;
use crate::sys::clock::Tick;

impl Forwarder {
    /// The one flow of a client, wherever it goes on to.
    pub(super) fn flow_of(&mut self, key: FlowKey, turn: &Turn<'_>) -> Result<FlowId, DropReason> {
        let Some(flow) = self.flows.find(&key) else {
            self.admit(key.client, turn)?;
            let places = self.places(key.client, turn)?;
            let link = Link::open(&turn.view.pool, key.client, &mut Vec::new(), turn.snapshot.generation, &self.local)?;
            return self.begin(key, link, places, turn);
        };
        let Some(held) = self.flows.held_mut(flow) else { return Ok(flow) };
        let standing = standing(&mut held.link, turn);
        match self.flows.onward(flow, standing, turn.now.millis()) {
            Onward::Stay => Ok(flow),
            Onward::Move => Ok(self.change_backend(flow, key.client, turn)),
        }
    }

    /// The flow of a client with the backend that is picked for its next datagram.
    pub(super) fn lane_of(&mut self, key: FlowKey, turn: &Turn<'_>) -> Result<FlowId, DropReason> {
        let mut tried = Vec::new();
        let mut second_choice = None;
        while let Some((index, backend)) = pick(&turn.view.pool, key.client, &mut tried) {
            let key = FlowKey { lane: backend.state.hash_key(), ..key };
            let Some(flow) = self.flows.find(&key) else {
                self.admit(key.client, turn)?;
                let places = self.places(key.client, turn)?;
                // Only our own lack of something keeps a socket from being connected, or a route that is missing.
                let link =
                    Link::to(backend, turn.snapshot.generation, &self.local).map_err(|_| DropReason::NoResources)?;
                return self.begin(key, link, places, turn);
            };
            match self.flows.held_mut(flow).map(|held| standing(&mut held.link, turn)) {
                Some(Standing::Serves) => return Ok(flow),
                Some(Standing::Refuses) => {
                    second_choice = second_choice.or(Some(flow));
                    tried.push(index);
                }
                // The backend is at another address now.
                Some(Standing::Down) | None => self.end(flow, FlowCloseReason::BackendGone),
            }
        }
        second_choice.ok_or(DropReason::NoBackend)
    }

    /// Where the rest goes of what this flow's backend has refused a part of.
    pub(super) fn detour(&mut self, flow: FlowId, key: FlowKey, turn: &Turn<'_>) -> FlowId {
        match turn.view.config.assignment {
            Assignment::PerPacket => self.lane_of(key, turn).unwrap_or(flow),
            Assignment::PerFlow => match self.flows.onward(flow, Standing::Refuses, turn.now.millis()) {
                Onward::Stay => flow,
                Onward::Move => self.change_backend(flow, key.client, turn),
            },
        }
    }

    /// Whether a client may begin a flow at all.
    fn admit(&mut self, client: SocketAddr, turn: &Turn<'_>) -> Result<(), DropReason> {
        if self.order == Order::Drain {
            return Err(DropReason::Draining);
        }
        if self.own_addrs.contain(client, &turn.snapshot.udp_addrs, turn.now) {
            return Err(DropReason::OwnAddress);
        }
        Ok(())
    }

    /// Places for one more flow; the one that never had an answer and is silent the longest makes room if need be.
    fn places(&mut self, client: SocketAddr, turn: &Turn<'_>) -> Result<Places, DropReason> {
        let state = &turn.view.state;
        let source = match turn.view.config.max_flows_per_source {
            Some(limit) => Some(state.sources.admit(client.ip(), limit.get()).ok_or(DropReason::SourceLimit)?),
            None => None,
        };
        let limit = turn.view.config.max_flows.get();
        loop {
            if let Some(listener) = state.admission.admit(limit) {
                return Ok(Places { listener, source });
            }
            let evicted = self.flows.evict().ok_or(DropReason::TableFull)?;
            self.close(evicted, FlowCloseReason::Evicted);
        }
    }

    fn begin(&mut self, key: FlowKey, link: Link, places: Places, turn: &Turn<'_>) -> Result<FlowId, DropReason> {
        let is_one_shot = turn.view.config.requests == Quota::Exactly(NonZeroU32::MIN);
        let is_sampled = is_one_shot || turn.view.config.assignment == Assignment::PerPacket;
        let recording = if is_sampled { Recording::Sampled } else { Recording::Each };
        let held = Held::open(&turn.view.state, places, link, recording, self.local.id);
        let flow = self.flows.begin(key, held, turn.now.millis());
        self.watch_link(flow)?;
        Ok(flow)
    }

    /// Has the runtime tell of replies to this flow.
    fn watch_link(&mut self, flow: FlowId) -> Result<(), DropReason> {
        let Some(held) = self.flows.held(flow) else { return Ok(()) };
        self.watch.add(&held.link.socket, flow.token()).map_err(|error| {
            if let Some(suppressed) = self.local.registry.exhaustion.allow(Tick::now()) {
                tracing::warn!(%error, suppressed, "flows cannot begin, out of resources");
            }
            self.end(flow, FlowCloseReason::Internal);
            DropReason::NoResources
        })
    }

    /// Gives a flow another backend, if there is one to be had; otherwise it stays where it is.
    fn change_backend(&mut self, flow: FlowId, client: SocketAddr, turn: &Turn<'_>) -> FlowId {
        let Some(held) = self.flows.held_mut(flow) else { return flow };
        // One that is down is no choice anyway; one that refuses may still seem to be.
        let is_present =
            |backend: &BackendView| held.link.is_refused && Arc::ptr_eq(&backend.state, &held.link.backend);
        let present = turn.view.pool.backends.iter().position(is_present);
        let mut tried: Vec<u16> = present.and_then(|index| u16::try_from(index).ok()).into_iter().collect();
        let Ok(link) = Link::open(&turn.view.pool, client, &mut tried, turn.snapshot.generation, &self.local) else {
            return flow;
        };
        let Some(flow) = self.flows.renew(flow) else { return flow };
        if let Some(held) = self.flows.held_mut(flow) {
            // The old socket closes, and with it its watch.
            held.link = link;
        }
        // Without a watch the flow is ended, and its client begins another.
        let _watched = self.watch_link(flow);
        flow
    }

    fn end(&mut self, flow: FlowId, reason: FlowCloseReason) {
        if let Some(ended) = self.flows.end(flow) {
            self.close(ended, reason);
        }
    }
}

/// What is known about the backend of a flow now.
fn standing(link: &mut Link, turn: &Turn<'_>) -> Standing {
    if !link.is_current(&turn.view.pool, turn.snapshot.generation) || link.backend.status() == Status::Down {
        Standing::Down
    } else if link.is_refused {
        Standing::Refuses
    } else {
        Standing::Serves
    }
}
