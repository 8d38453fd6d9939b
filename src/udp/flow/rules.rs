//! What the configuration says about flows.

use std::num::NonZeroU32;

use crate::config::OnBackendDown;

/// What holds for the flows of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A flow without a datagram either way for this long is over.
    pub idle_ms: u64,
    /// Datagrams of the client in a flow; the next one begins another. Absent: as many as come.
    pub requests: Option<NonZeroU32>,
    /// Replies to each of them; a flow that has had them all is over. Absent: as many as come.
    pub responses: Option<NonZeroU32>,
    /// What becomes of the flows of a backend that cannot serve them.
    pub on_backend_down: OnBackendDown,
    /// How many flows there may be.
    pub bounds: Bounds,
    /// Whether the flows that there are are the last.
    pub is_draining: bool,
}

impl Rules {
    /// Those of a table that there is no configuration for yet: it has no flows, and begins none.
    pub const NONE: Self = Self {
        idle_ms: u64::MAX,
        requests: None,
        responses: None,
        on_backend_down: OnBackendDown::Move,
        bounds: Bounds { flows: 0, flows_per_source: None, tables: 1 },
        is_draining: false,
    };
}

/// How many flows a listener may have, in all of its tables together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of all clients.
    pub flows: u32,
    /// Of one client address; absent: as many as there is room for.
    pub flows_per_source: Option<u32>,
    /// How many tables there are; at least 1.
    pub tables: u32,
}
