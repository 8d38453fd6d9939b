//! An accepted connection on its way to the worker that serves it.

use std::sync::Arc;
use std::time::Instant;

use super::placement::Placed;
use crate::pool::admission::Permits;
use crate::pool::listener::TcpView;
use crate::sys::socket::{Accepted, ClientAddr};

/// An accepted connection that may become a session. It can move to another worker: nothing of it is registered yet.
#[derive(Debug)]
pub struct Admitted {
    /// The client's socket, non-blocking.
    pub fd: Accepted,
    /// Who connected.
    pub client: ClientAddr,
    /// The listener as it was when the connection was accepted.
    pub view: Arc<TcpView>,
    /// The places taken in the limits.
    pub permits: Permits,
    /// The place on a worker.
    pub placed: Placed,
    /// When it was accepted.
    pub accepted_at: Instant,
}
