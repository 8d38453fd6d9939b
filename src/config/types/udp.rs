//! The settings of a UDP listener.

use std::num::NonZeroU32;
use std::time::Duration;

/// What flows of a UDP listener may do, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    /// A flow without a datagram either way for this long ends.
    pub flow_idle_timeout: Duration,
    /// Datagrams of the client in a flow; its next one begins another. Replies to those before still find their way. Absent:
    /// as many as come.
    pub requests: Option<NonZeroU32>,
    /// Replies to each datagram of the client; a flow that has had them all ends. Absent: as many as come.
    pub responses: Option<NonZeroU32>,
    /// How often a backend is picked.
    pub assignment: Assignment,
    /// Flows of this listener, all workers together; each is a socket towards its backend.
    pub max_flows: NonZeroU32,
    /// Flows of one client address; absent: as many as there is room for.
    pub max_flows_per_source: Option<NonZeroU32>,
    /// What becomes of the flows of a backend that goes down; with [`Assignment::PerPacket`] it means nothing.
    pub on_backend_down: OnBackendDown,
    /// Bytes that the kernel is asked to queue for each socket of the listener; it may grant less.
    pub receive_buffer: NonZeroU32,
}

/// How often a backend is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// Once a flow: what a client sends from one port stays on one backend.
    PerFlow,
    /// For every datagram anew: for protocols in which each stands for itself, such as DNS.
    PerPacket,
}

/// What becomes of the flows of a backend that goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBackendDown {
    /// A flow gets another backend at its next datagram.
    Move,
    /// A flow stays with the backend it has.
    Stick,
    /// A flow stays as long as the backend answers it, and moves once it does not.
    LameDuck,
}
