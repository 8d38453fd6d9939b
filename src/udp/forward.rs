//! From clients to backends.

use std::io;
use std::rc::Rc;

use super::flow::{FlowId, FlowKey, Taken};
use super::post::{Parcel, Post};
use super::{Forwarder, Turn};
use crate::config::Assignment;
use crate::metrics::reason::DropReason;
use crate::sys::clock::Tick;
use crate::sys::udp::{Datagrams, Receiver, Route, Sender};

/// What to do with datagrams that the machine of a backend refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    /// Send no more of them there.
    Stop,
    /// Leave out the one that cannot be sent.
    GoOn,
}

/// How far the datagrams of a flow were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// To the end, but for those that were counted as dropped.
    All,
    /// So many of them; then the machine of the backend refused.
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
            for parcels in parcels.chunk_by(|one, other| one.flow == other.flow) {
                self.deliver(parcels, receiver, sender, &turn);
            }
            parcels.clear();
        });
    }

    /// Finds the flows that the datagrams of one slot belong to.
    fn address(&mut self, slot: usize, train: &Datagrams<'_>, turn: &Turn<'_>, parcels: &mut Vec<Parcel>) {
        self.note_overrun(train.overflow);
        let count = u32::try_from(train.count()).unwrap_or(u32::MAX);
        let Some(client) = train.source.filter(|_| !train.is_truncated) else {
            return self.dropped(DropReason::Truncated, 1);
        };
        let (mut start, mut left) = (0, count);
        while left > 0 {
            let key = FlowKey { client, destination: train.destination, lane: 0 };
            match self.take(key, left, turn) {
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
    fn take(&mut self, key: FlowKey, datagrams: u32, turn: &Turn<'_>) -> Result<(FlowId, u32), DropReason> {
        let (flow, datagrams) = match turn.view.config.assignment {
            Assignment::PerFlow => (self.flow_of(key, turn)?, datagrams),
            Assignment::PerPacket => (self.lane_of(key, turn)?, 1),
        };
        // A flow was found or begun a moment ago.
        let taken = self.flows.forward(flow, datagrams, turn.now.millis()).ok_or(DropReason::NoResources)?;
        self.note_silence(flow, taken, turn);
        Ok((flow, taken.datagrams))
    }

    /// Sends what belongs to one flow to its backend; what that one's machine refuses goes to where the flow goes then.
    fn deliver(&mut self, parcels: &[Parcel], receiver: &Receiver, sender: &mut Sender, turn: &Turn<'_>) {
        let Some(Parcel { flow, slot, .. }) = parcels.first() else { return };
        let sent = self.send(*flow, parcels, 0, OnRefusal::Stop, receiver, sender);
        let train = receiver.at(*slot);
        if let (Sent::Until(datagrams), Some(client)) = (sent, train.source) {
            let flow = self.detour(*flow, FlowKey { client, destination: train.destination, lane: 0 }, turn);
            self.send(flow, parcels, datagrams, OnRefusal::GoOn, receiver, sender);
        }
    }

    /// Sends all but the first `sent` datagrams of `parcels`.
    fn send(
        &mut self,
        flow: FlowId,
        parcels: &[Parcel],
        mut sent: usize,
        on_refusal: OnRefusal,
        receiver: &Receiver,
        sender: &mut Sender,
    ) -> Sent {
        let Some(held) = self.flows.held_mut(flow) else {
            // It had to make room for another one of this turn.
            let lost: usize = parcels.iter().map(|parcel| parcel.datagrams as usize).sum();
            self.dropped(DropReason::TableFull, lost.saturating_sub(sent) as u64);
            return Sent::All;
        };
        let link = &mut held.link;
        let mut batch = sender.batch();
        for parcel in parcels {
            let skipped = sent.min(parcel.datagrams as usize);
            sent -= skipped;
            if skipped < parcel.datagrams as usize {
                let start = parcel.start + skipped * parcel.segment_size;
                let bytes = &receiver.at(parcel.slot).bytes[start..parcel.end];
                batch.push(Route::CONNECTED, parcel.segment_size, bytes);
            }
        }
        let (mut lost, mut is_refused) = (0, false);
        while let Err(refusal) = batch.send(&link.socket) {
            // What ICMP says is about an earlier datagram; this one was not sent yet.
            if is_of_the_backend(&refusal.error) {
                link.refused(self.local.id);
                if on_refusal == OnRefusal::Stop {
                    is_refused = true;
                    break;
                }
            }
            lost += batch.skip() as u64;
        }
        let (datagrams, bytes) = (batch.taken(), batch.bytes_taken() as u64);
        let stats = link.backend.stats.at(self.local.id);
        stats.datagrams_upstream.add(datagrams as u64);
        stats.bytes_upstream.add(bytes);
        held.bytes_up += bytes;
        self.dropped(DropReason::SendError, lost);
        if is_refused { Sent::Until(datagrams) } else { Sent::All }
    }

    /// Counts a flow that has come to have so many datagrams without a reply as the passive check asks for.
    fn note_silence(&self, flow: FlowId, taken: Taken, turn: &Turn<'_>) {
        let Some(check) = &turn.view.pool.config.passive_check else { return };
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

/// Whether an error of a connected socket is what ICMP said about datagrams sent before.
pub(super) fn is_of_the_backend(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | PermissionDenied)
}
