//! The memory through which all datagrams of a worker pass. Nothing stays in it from one turn to the next.

use std::net::SocketAddr;
use std::ops::Range;

use super::flow::{FlowId, FlowKey};
use crate::sys::udp::{Capabilities, Receiver, Sender, Train};

/// Datagrams, or trains of them, received in one turn. Enough that system calls are few; so few that small ones, each of
/// which touches a page of its own, stay in the second-level cache.
const SLOTS: usize = 64;

/// No datagram, and no train that the kernel hands over in one piece, is longer.
const SLOT_BYTES: usize = 65_535;

/// A worker's memory for datagrams.
#[derive(Debug)]
pub struct Buffers {
    pub(super) receiver: Receiver,
    pub(super) sender: Sender,
    /// What clients sent and where it belongs.
    pub(super) runs: Vec<Run>,
    /// What backends sent.
    pub(super) replies: Vec<Replies>,
    /// Flows that had their last reply.
    pub(super) finished: Vec<FlowId>,
}

/// Datagrams of a client that lie in one slot and belong to one flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Run {
    pub(super) flow: FlowId,
    pub(super) slot: usize,
    /// Where it begins in the slot, and where it ends.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The length of each datagram but the last.
    pub(super) segment_size: usize,
    pub(super) datagrams: u32,
}

/// Everything that one flow has for its backend in a turn, in the order of arrival; at least one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requests<'a> {
    pub(super) runs: &'a [Run],
    pub(super) receiver: &'a Receiver,
}

/// What one flow has for its client.
#[derive(Debug)]
pub(super) struct Replies {
    pub(super) flow: FlowId,
    pub(super) slots: Range<usize>,
    pub(super) datagrams: u32,
    pub(super) bytes: u64,
    /// How many more the kernel had no room for.
    pub(super) overruns: u32,
}

impl Buffers {
    /// Memory for as many datagrams as one turn takes. The kernel gives it when it is first used.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            receiver: Receiver::new(SLOTS, SLOT_BYTES, capabilities),
            sender: Sender::new(capabilities),
            runs: Vec::with_capacity(SLOTS),
            replies: Vec::with_capacity(SLOTS),
            finished: Vec::with_capacity(SLOTS),
        }
    }

    /// Forgets what a turn that did not come to its end has left.
    pub(super) fn clear(&mut self) {
        self.receiver.clear();
        self.runs.clear();
        self.replies.clear();
        self.finished.clear();
    }
}

impl Run {
    /// Of what lies in a slot, so many `datagrams` from the byte `start` on.
    pub(super) fn new(flow: FlowId, slot: usize, train: &Train<'_>, start: usize, datagrams: u32) -> Self {
        let end = train.bytes.len().min(start + datagrams as usize * train.segment_size);
        Self { flow, slot, start, end, segment_size: train.segment_size.min(end - start), datagrams }
    }
}

impl<'a> Requests<'a> {
    /// Whose they were when they were received.
    pub(super) fn flow(&self) -> FlowId {
        self.runs[0].flow
    }

    /// Who sent them, and to where.
    pub(super) fn key(&self) -> Option<FlowKey> {
        let train = self.receiver.at(self.runs[0].slot);
        let client: SocketAddr = train.source?;
        Some(FlowKey { client, destination: train.destination, backend: 0 })
    }

    /// How many datagrams they are.
    pub(super) fn datagrams(&self) -> usize {
        self.runs.iter().map(|run| run.datagrams as usize).sum()
    }

    /// All but the first `sent` datagrams, as trains: the length of their segments, and their bytes.
    pub(super) fn after(&self, mut sent: usize) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let Self { runs, receiver } = *self;
        runs.iter().filter_map(move |run| {
            let skipped = sent.min(run.datagrams as usize);
            sent -= skipped;
            let start = run.start + skipped * run.segment_size;
            (skipped < run.datagrams as usize).then(|| (run.segment_size, &receiver.at(run.slot).bytes[start..run.end]))
        })
    }
}
