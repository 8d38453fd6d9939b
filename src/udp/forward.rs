//! From clients to backends.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use super::flow::{FlowId, FlowKey, Onward, Standing, Taken};
use super::held::{Held, Link, Places, Recording, pick};
use super::post::{Parcel, Post};
use super::{Forwarder, Order};
use crate::config::{Assignment, Quota};
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::pool::health::Status;
use crate::pool::snapshot::{BackendView, Snapshot, UdpListenerView};
use crate::sys::clock::Tick;
use crate::sys::udp::{Datagrams, Receiver, Route, Sender};

impl Forwarder {
    /// Receives what clients have sent, and sends it on.
    pub(super) fn forward(&mut self, post: &mut Post) {
        post.receiver.clear();
        let slots = match post.receiver.receive(&self.socket) {
            Ok(received) => {
                self.has_mail = !received.is_drained;
                received.slots
            }
            Err(error) => {
                self.has_mail = error.kind() == io::ErrorKind::Interrupted;
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                    tracing::debug!(%error, "receiving from clients failed");
                }
                return;
            }
        };
        let local = Rc::clone(&self.local);
        local.with_snapshot(|snapshot| {
            let Some(view) = self.view(snapshot) else { return };
            let mut datagrams = 0;
            for slot in slots {
                let train = post.receiver.at(slot);
                datagrams += train.count() as u64;
                self.address(slot, &train, snapshot, view, &mut post.parcels);
            }
            view.state.stats.at(local.id).batches.observe(datagrams);
            // One send for each flow, and within a flow in the order of arrival.
            post.parcels.sort_unstable();
            for parcels in post.parcels.chunk_by(|one, other| one.flow == other.flow) {
                self.deliver(parcels, &post.receiver, &mut post.sender);
            }
        });
        post.parcels.clear();
    }

    /// Finds the flows that the datagrams of one slot belong to.
    fn address(
        &mut self,
        slot: usize,
        train: &Datagrams<'_>,
        snapshot: &Snapshot,
        view: &UdpListenerView,
        parcels: &mut Vec<Parcel>,
    ) {
        self.note_overrun(train.overflow);
        let count = u32::try_from(train.count()).unwrap_or(u32::MAX);
        let Some(client) = train.source.filter(|_| !train.is_truncated) else {
            return self.dropped(DropReason::Truncated, 1);
        };
        let now = Tick::now();
        let (mut start, mut left) = (0, count);
        while left > 0 {
            let key = FlowKey { client, destination: train.destination, lane: 0 };
            match self.take(key, left, snapshot, view, now) {
                Ok((flow, datagrams)) => {
                    let end = train.bytes.len().min(start + datagrams as usize * train.segment_size);
                    let segment_size = train.segment_size.min(end - start);
                    parcels.push(Parcel { flow, slot, start, end, segment_size, datagrams });
                    start = end;
                    left -= datagrams;
                }
                // What holds for one holds for those behind it.
                Err(reason) => return self.dropped(reason, left.into()),
            }
        }
    }

    /// The flow that takes the next of `datagrams`, and how many of them.
    fn take(
        &mut self,
        key: FlowKey,
        datagrams: u32,
        snapshot: &Snapshot,
        view: &UdpListenerView,
        now: Tick,
    ) -> Result<(FlowId, u32), DropReason> {
        let (flow, datagrams) = match view.config.assignment {
            Assignment::PerFlow => (self.flow_of(key, snapshot, view, now)?, datagrams),
            Assignment::PerPacket => (self.lane_of(key, snapshot, view, now)?, 1),
        };
        // A flow was found or begun a moment ago.
        let taken = self.flows.forward(flow, datagrams, now.millis()).ok_or(DropReason::NoResources)?;
        self.note_silence(flow, taken, view);
        Ok((flow, taken.datagrams))
    }

    /// The one flow of a client, wherever it goes on to.
    fn flow_of(
        &mut self,
        key: FlowKey,
        snapshot: &Snapshot,
        view: &UdpListenerView,
        now: Tick,
    ) -> Result<FlowId, DropReason> {
        let Some(flow) = self.flows.find(&key) else {
            self.admit(key.client, snapshot, now)?;
            let places = self.places(key.client, view)?;
            let link = Link::open(&view.pool, key.client, &mut Vec::new(), snapshot.generation, &self.local)?;
            return self.begin(key, link, places, view, now);
        };
        let Some(held) = self.flows.held_mut(flow) else { return Ok(flow) };
        let standing = standing(&mut held.link, snapshot, view);
        match self.flows.onward(flow, standing, now.millis()) {
            Onward::Stay => Ok(flow),
            Onward::Move => Ok(self.change_backend(flow, key.client, snapshot, view)),
        }
    }

    /// The flow of a client with the backend that is picked for its next datagram.
    fn lane_of(
        &mut self,
        key: FlowKey,
        snapshot: &Snapshot,
        view: &UdpListenerView,
        now: Tick,
    ) -> Result<FlowId, DropReason> {
        let mut tried = Vec::new();
        let mut second_choice = None;
        while let Some((index, backend)) = pick(&view.pool, key.client, &mut tried) {
            let key = FlowKey { lane: backend.state.hash_key(), ..key };
            let Some(flow) = self.flows.find(&key) else {
                self.admit(key.client, snapshot, now)?;
                let places = self.places(key.client, view)?;
                // Only our own lack of something keeps a socket from being connected, or a route that is missing.
                let link = Link::to(backend, snapshot.generation, &self.local).map_err(|_| DropReason::NoResources)?;
                return self.begin(key, link, places, view, now);
            };
            match self.flows.held_mut(flow).map(|held| standing(&mut held.link, snapshot, view)) {
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

    /// Whether a client may begin a flow at all.
    fn admit(&mut self, client: SocketAddr, snapshot: &Snapshot, now: Tick) -> Result<(), DropReason> {
        if self.order == Order::Drain {
            return Err(DropReason::Draining);
        }
        if self.own_addrs.contain(client, &snapshot.udp_addrs, now) {
            return Err(DropReason::OwnAddress);
        }
        Ok(())
    }

    /// Places for one more flow; the one that never had an answer and is silent the longest makes room if need be.
    fn places(&mut self, client: SocketAddr, view: &UdpListenerView) -> Result<Places, DropReason> {
        let state = &view.state;
        let source = match view.config.max_flows_per_source {
            Some(limit) => Some(state.sources.admit(client.ip(), limit.get()).ok_or(DropReason::SourceLimit)?),
            None => None,
        };
        let limit = view.config.max_flows.get();
        loop {
            if let Some(listener) = state.admission.admit(limit) {
                return Ok(Places { listener, source });
            }
            let evicted = self.flows.evict().ok_or(DropReason::TableFull)?;
            self.close(evicted, FlowCloseReason::Evicted);
        }
    }

    fn begin(
        &mut self,
        key: FlowKey,
        link: Link,
        places: Places,
        view: &UdpListenerView,
        now: Tick,
    ) -> Result<FlowId, DropReason> {
        let is_one_shot = view.config.requests == Quota::Exactly(NonZeroU32::MIN);
        let is_sampled = is_one_shot || view.config.assignment == Assignment::PerPacket;
        let recording = if is_sampled { Recording::Sampled } else { Recording::Each };
        let held = Held::open(&view.state, places, link, recording, self.local.id);
        let flow = self.flows.begin(key, held, now.millis());
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
    fn change_backend(
        &mut self,
        flow: FlowId,
        client: SocketAddr,
        snapshot: &Snapshot,
        view: &UdpListenerView,
    ) -> FlowId {
        let Some(held) = self.flows.held_mut(flow) else { return flow };
        // One that is down is no choice anyway; one that refuses may still seem to be.
        let is_present =
            |backend: &BackendView| held.link.is_refused && Arc::ptr_eq(&backend.state, &held.link.backend);
        let present = view.pool.backends.iter().position(is_present);
        let mut tried: Vec<u16> = present.and_then(|index| u16::try_from(index).ok()).into_iter().collect();
        let Ok(link) = Link::open(&view.pool, client, &mut tried, snapshot.generation, &self.local) else {
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

    /// Sends what belongs to one flow to its backend.
    fn deliver(&mut self, parcels: &[Parcel], receiver: &Receiver, sender: &mut Sender) {
        let Some(flow) = parcels.first().map(|parcel| parcel.flow) else { return };
        let Some(held) = self.flows.held_mut(flow) else {
            // It had to make room for another one of this turn.
            let lost = parcels.iter().map(|parcel| u64::from(parcel.datagrams)).sum();
            return self.dropped(DropReason::TableFull, lost);
        };
        let link = &mut held.link;
        let stats = link.backend.stats.at(self.local.id);
        let mut batch = sender.batch();
        for parcel in parcels {
            batch.push(
                Route::CONNECTED,
                parcel.segment_size,
                &receiver.at(parcel.slot).bytes[parcel.start..parcel.end],
            );
        }
        let (mut lost, mut is_again) = (0, false);
        while let Err(refusal) = batch.send(&link.socket) {
            // What ICMP said is about an earlier datagram; this one has not been tried yet.
            if is_of_the_backend(&refusal.error) && !is_again {
                stats.icmp_errors.add(1);
                link.is_refused = true;
                is_again = true;
                continue;
            }
            is_again = false;
            lost += batch.skip() as u64;
        }
        let (datagrams, bytes) = (batch.taken() as u64, batch.bytes_taken() as u64);
        stats.datagrams_upstream.add(datagrams);
        stats.bytes_upstream.add(bytes);
        held.bytes_up += bytes;
        self.dropped(DropReason::SendError, lost);
    }

    /// Counts a flow that has come to have so many datagrams without a reply as the passive check asks for.
    fn note_silence(&self, flow: FlowId, taken: Taken, view: &UdpListenerView) {
        let Some(check) = &view.pool.config.passive_check else { return };
        let threshold = check.unanswered.get();
        if taken.unanswered >= threshold
            && taken.unanswered - taken.datagrams < threshold
            && let Some(held) = self.flows.held(flow)
        {
            held.link.backend.stats.at(self.local.id).unanswered_flows.add(1);
        }
    }

    /// Counts what the kernel had no room for since it last said.
    fn note_overrun(&mut self, overrun: Option<u32>) {
        if let Some(overrun) = overrun
            && overrun != self.overrun
        {
            let lost = overrun.wrapping_sub(self.overrun);
            self.overrun = overrun;
            self.dropped(DropReason::ReceiveBufferOverrun, lost.into());
        }
    }
}

/// What is known about the backend of a flow now.
fn standing(link: &mut Link, snapshot: &Snapshot, view: &UdpListenerView) -> Standing {
    if !link.is_current(&view.pool, snapshot.generation) || link.backend.status() == Status::Down {
        Standing::Down
    } else if link.is_refused {
        Standing::Refuses
    } else {
        Standing::Serves
    }
}

/// Whether an error of a connected socket is what ICMP said about datagrams sent before.
pub(super) fn is_of_the_backend(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | PermissionDenied)
}
