//! What the table knows about one flow.

use std::num::NonZeroU32;

use super::key::FlowKey;

/// A flow and what it holds.
#[derive(Debug)]
pub(super) struct FlowState<R> {
    pub(super) key: FlowKey,
    /// Whether its key leads to it.
    pub(super) is_indexed: bool,
    pub(super) generation: u32,
    pub(super) links: Links,
    pub(super) began_ms: u64,
    /// When a datagram last passed, either way.
    pub(super) last_ms: u64,
    /// Datagrams of the client, and of its backends.
    pub(super) requests: u64,
    pub(super) responses: u64,
    pub(super) unreplied: Option<Unreplied>,
    pub(super) resources: R,
}

/// The place of a flow in the list that it is in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    pub(super) before: Option<u32>,
    pub(super) after: Option<u32>,
}

/// Datagrams of the client since the last reply, or since the flow has moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unreplied {
    /// At least 1.
    pub(super) datagrams: u32,
    /// When the first of them came.
    pub(super) since_ms: u64,
}

impl<R> FlowState<R> {
    /// A flow that begins now.
    pub(super) fn new(key: FlowKey, generation: u32, resources: R, now_ms: u64) -> Self {
        Self {
            key,
            is_indexed: true,
            generation,
            links: Links::default(),
            began_ms: now_ms,
            last_ms: now_ms,
            requests: 0,
            responses: 0,
            unreplied: None,
            resources,
        }
    }

    /// Whether a backend has ever replied.
    pub(super) fn is_answered(&self) -> bool {
        self.responses > 0
    }

    /// How many more datagrams of the client the flow takes, of `most` in all. One at least: a reload may have changed that.
    pub(super) fn requests_left(&self, most: Option<NonZeroU32>) -> u64 {
        most.map_or(u64::MAX, |most| u64::from(most.get()).saturating_sub(self.requests).max(1))
    }

    /// Counts datagrams of the client; returns how many have had no reply yet.
    pub(super) fn add_requests(&mut self, datagrams: u32, now_ms: u64) -> u32 {
        self.requests += u64::from(datagrams);
        let unreplied = self.unreplied.get_or_insert(Unreplied { datagrams: 0, since_ms: now_ms });
        unreplied.datagrams = unreplied.datagrams.saturating_add(datagrams);
        unreplied.datagrams
    }

    /// Counts datagrams of the backend; returns whether the flow has had all that it is to have, `each` to a request.
    pub(super) fn add_responses(&mut self, datagrams: u32, each: Option<NonZeroU32>) -> bool {
        self.responses += u64::from(datagrams);
        self.unreplied = None;
        each.is_some_and(|each| self.responses >= self.requests.saturating_mul(u64::from(each.get())))
    }
}
