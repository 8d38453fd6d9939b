//! From clients to backends.

use std::io;
use std::rc::Rc;

use super::buffers::{Delivery, Parcel, Post};
use super::flow::{FlowId, FlowKey, Taken};
use super::upstream_socket::{is_crowded, is_of_the_backend};
use super::{Forwarder, Turn};
use crate::config::{Assignment, Quota};
use crate::metrics::reason::DropReason;
use crate::sys::clock::Tick;
use crate::sys::udp::{Batch, Datagrams, Route, Sender};

/// What to do with datagrams that the machine of a backend refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    /// Send no more of them there.
    Stop,
    /// Try again: the refusal was of one sent before.
    GoOn,
}

/// How far the datagrams of a flow were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// To the end, but for those that were counted as dropped.
    All,
    /// So many of them, those dropped included; then the machine of the backend refused.
    Until(usize),
}

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
            let turn = Turn { snapshot, view, now: Tick::now() };
            let Post { receiver, sender, parcels, .. } = post;
            let mut datagrams = 0;
            for slot in slots {
                let train = receiver.at(slot);
                datagrams += train.count() as u64;
                self.address(slot, &train, &turn, parcels);
            }
            view.state.stats.at(local.id).batches.observe(datagrams);
            // One send for each flow, and within a flow in the order of arrival.
            parcels.sort_unstable();
            let mut flows = 0;
            for parcels in parcels.chunk_by(|one, other| one.flow == other.flow) {
                flows += 1;
                self.deliver(&Delivery { parcels, receiver }, sender, &turn);
            }
            self.upstream_pace.note(parcels.len(), flows);
            parcels.clear();
        });
    }

    /// Finds the flows that the datagrams of one slot belong to.
    fn address(&mut self, slot: usize, train: &Datagrams<'_>, turn: &Turn<'_>, parcels: &mut Vec<Parcel>) {
        self.note_overrun(train.overflow);
        #[cfg(feature = "faults")]
        super::fault::panic_if_asked(&turn.view.state.name, train.bytes);
        let count = u32::try_from(train.count()).unwrap_or(u32::MAX);
        let Some(client) = train.source.filter(|_| !train.is_truncated) else {
            return self.dropped(DropReason::Truncated, 1);
        };
        let (mut start, mut left) = (0, count);
        while left > 0 {
            let key = FlowKey { client, destination: train.destination, backend: 0 };
            match self.take(key, left, turn) {
                Ok((flow, datagrams)) => {
                    let end = train.bytes.len().min(start + datagrams as usize * train.segment_size);
                    let segment_size = train.segment_size.min(end - start);
                    parcels.push(Parcel { flow, slot, start, end, segment_size, datagrams });
                    start = end;
                    left -= datagrams;
                }
                // What holds for one holds for those behind it.
                Err(reason) => return self.refuse(reason, left, turn),
            }
        }
    }

    /// Counts datagrams that no flow takes, and says so where somebody has set the limit, but not too often.
    fn refuse(&self, reason: DropReason, datagrams: u32, turn: &Turn<'_>) {
        self.dropped(reason, datagrams.into());
        if matches!(reason, DropReason::TableFull | DropReason::SourceLimit | DropReason::NoBackend)
            && let Some(suppressed) = self.local.registry.refusals.allow(turn.now)
        {
            let listener = turn.view.state.name.as_str();
            tracing::warn!(listener, reason = reason.label(), suppressed, "datagram dropped");
        }
    }

    /// The flow that takes the next of `datagrams`, and how many of them.
    fn take(&mut self, key: FlowKey, datagrams: u32, turn: &Turn<'_>) -> Result<(FlowId, u32), DropReason> {
        let (flow, datagrams) = match turn.view.config.assignment {
            Assignment::PerFlow => (self.flow_of(key, turn)?, datagrams),
            Assignment::PerPacket => (self.lane_of(key, turn)?, 1),
        };
        // A flow was found or begun a moment ago.
        let taken = self.flows.take_requests(flow, datagrams, turn.now.millis()).ok_or(DropReason::NoResources)?;
        self.note_silence(flow, taken, turn);
        Ok((flow, taken.datagrams))
    }

    /// Sends what belongs to one flow to its backend; what that one's machine refuses goes to where the flow goes then.
    fn deliver(&mut self, delivery: &Delivery<'_>, sender: &mut Sender, turn: &Turn<'_>) {
        // It may have moved since it was found for the first of these datagrams.
        let flow = self.formers.get_mut(delivery.flow().token()).map_or(delivery.flow(), |former| former.flow);
        let sent = self.send(flow, delivery, 0, OnRefusal::Stop, sender);
        if let (Sent::Until(datagrams), Some(key)) = (sent, delivery.key()) {
            let flow = self.detour(flow, key, delivery.datagrams() - datagrams, turn);
            self.send(flow, delivery, datagrams, OnRefusal::GoOn, sender);
        }
    }

    /// Sends all but the first `sent` datagrams of a delivery.
    fn send(
        &mut self,
        flow: FlowId,
        delivery: &Delivery<'_>,
        sent: usize,
        on_refusal: OnRefusal,
        sender: &mut Sender,
    ) -> Sent {
        let Some(held) = self.flows.get_mut(flow) else {
            self.dropped(DropReason::Evicted, delivery.datagrams().saturating_sub(sent) as u64);
            return Sent::All;
        };
        let link = &mut held.link;
        let mut batch = sender.batch();
        for (segment_size, bytes) in delivery.after(sent) {
            batch.push(Route::CONNECTED, segment_size, bytes);
        }
        let mut lost = Lost::default();
        let mut is_refused = false;
        while let Err(refusal) = batch.send(&link.socket) {
            if is_of_the_backend(&refusal.error) {
                link.refused(self.local.id);
                is_refused = on_refusal == OnRefusal::Stop;
                if is_refused {
                    break;
                }
            }
            lost.give_way(&mut batch, &refusal.error);
        }
        let (datagrams, bytes) = (batch.taken(), batch.bytes_taken() as u64);
        let stats = link.backend.stats.at(self.local.id);
        stats.datagrams_upstream.add(datagrams as u64);
        stats.bytes_upstream.add(bytes);
        held.bytes_up += bytes;
        lost.count(self);
        if is_refused { Sent::Until(sent + datagrams + lost.datagrams()) } else { Sent::All }
    }

    /// Counts a flow that has come to have so many datagrams without a reply as the passive check asks for; or all that it
    /// may have, if those are fewer.
    fn note_silence(&self, flow: FlowId, taken: Taken, turn: &Turn<'_>) {
        let Some(check) = &turn.view.pool.config.passive_check else { return };
        let threshold = match turn.view.config.requests {
            Quota::Exactly(requests) => check.unanswered.min(requests).get(),
            Quota::Unlimited => check.unanswered.get(),
        };
        if taken.unreplied >= threshold
            && taken.unreplied - taken.datagrams < threshold
            && let Some(held) = self.flows.get(flow)
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

/// Datagrams that the kernel would not send.
#[derive(Debug, Default)]
pub(super) struct Lost {
    crowded: usize,
    refused: usize,
    /// How far the batch had come when it last failed.
    failed_at: Option<usize>,
}

impl Lost {
    /// Has a batch that failed go on. What a socket fails with may be about an earlier datagram and is said only once, so
    /// the one at hand is tried again; it is left out when it fails once more, and with it all others if there is no room.
    pub(super) fn give_way(&mut self, batch: &mut Batch<'_, '_>, error: &io::Error) {
        let progress = batch.taken() + self.datagrams();
        if is_crowded(error) {
            self.crowded += batch.abandon();
        } else if self.failed_at.replace(progress) == Some(progress) {
            self.refused += batch.skip();
        }
    }

    /// How many they are.
    pub(super) fn datagrams(&self) -> usize {
        self.crowded + self.refused
    }

    /// Tells the listener's counters.
    pub(super) fn count(&self, forwarder: &Forwarder) {
        forwarder.dropped(DropReason::SendBufferFull, self.crowded as u64);
        forwarder.dropped(DropReason::SendError, self.refused as u64);
    }
}
