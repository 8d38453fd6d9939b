//! The memory through which all datagrams of a worker pass. Nothing stays in it from one turn to the next.

use std::net::SocketAddr;
use std::ops::Range;

use super::flow::{FlowId, FlowKey};
use crate::sys::udp::{Capabilities, Receiver, Sender};

/// Datagrams, or trains of them, received in one turn. Enough that system calls are few; so few that small ones, each of
/// which touches a page of its own, stay in the second-level cache.
const SLOTS: usize = 64;

/// No datagram, and no train that the kernel hands over in one piece, is longer.
const SLOT_BYTES: usize = 65_535;

/// A worker's memory for datagrams.
#[derive(Debug)]
pub struct Post {
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    /// What clients sent and where it belongs.
    pub(super) parcels: Vec<Parcel>,
    /// What backends sent.
    pub(super) replies: Vec<Replies>,
    /// Flows that had their last reply.
    pub(super) finished: Vec<FlowId>,
}

/// A part of what lies in one slot, for one flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Parcel {
    pub(super) flow: FlowId,
    pub(super) slot: usize,
    /// Where it begins in the slot, and where it ends.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The length of each datagram but the last.
    pub(super) segment_size: usize,
    pub(super) datagrams: u32,
}

/// What one flow has for its client.
#[derive(Debug)]
pub(super) struct Replies {
    pub(super) flow: FlowId,
    pub(super) slots: Range<usize>,
    pub(super) datagrams: u32,
    pub(super) bytes: u64,
}

/// Everything that one flow has for its backend in a turn, in the order of arrival; at least one parcel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) parcels: &'a [Parcel],
    pub(super) receiver: &'a Receiver,
}

impl Post {
    /// Memory for as many datagrams as one turn takes. The kernel gives it when it is first used.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            receiver: Receiver::new(SLOTS, SLOT_BYTES, capabilities),
            sender: Sender::new(capabilities),
            parcels: Vec::with_capacity(SLOTS),
            replies: Vec::with_capacity(SLOTS),
            finished: Vec::with_capacity(SLOTS),
        }
    }

    /// Forgets what a turn that did not come to its end has left.
    pub(super) fn clear(&mut self) {
        self.receiver.clear();
        self.parcels.clear();
        self.replies.clear();
        self.finished.clear();
    }
}

impl<'a> Delivery<'a> {
    /// Whose it is.
    pub(super) fn flow(&self) -> FlowId {
        self.parcels[0].flow
    }

    /// Who sent it, and to where.
    pub(super) fn key(&self) -> Option<FlowKey> {
        let train = self.receiver.at(self.parcels[0].slot);
        let client: SocketAddr = train.source?;
        Some(FlowKey { client, destination: train.destination, backend: 0 })
    }

    /// How many datagrams it has.
    pub(super) fn datagrams(&self) -> usize {
        self.parcels.iter().map(|parcel| parcel.datagrams as usize).sum()
    }

    /// All but the first `sent` datagrams, as trains: the length of their segments, and their bytes.
    pub(super) fn after(&self, mut sent: usize) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let Self { parcels, receiver } = *self;
        parcels.iter().filter_map(move |parcel| {
            let skipped = sent.min(parcel.datagrams as usize);
            sent -= skipped;
            let start = parcel.start + skipped * parcel.segment_size;
            (skipped < parcel.datagrams as usize)
                .then(|| (parcel.segment_size, &receiver.at(parcel.slot).bytes[start..parcel.end]))
        })
    }
}
