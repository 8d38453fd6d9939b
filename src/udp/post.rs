//! The memory through which all datagrams of a worker pass. Nothing stays in it from one turn to the next.

use std::ops::Range;

use super::flow::FlowId;
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
    /// Whose replies lie in which slots.
    pub(super) replies: Vec<(FlowId, Range<usize>)>,
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
}
