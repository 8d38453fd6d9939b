//! What the health of a backend has changed to.

use std::sync::Arc;

use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::Health;

/// A backend whose health has changed.
#[derive(Debug)]
pub struct Change {
    /// The backend, whose state has its new health.
    pub backend: Arc<BackendState>,
    /// Where it was asked. By now it may be elsewhere.
    pub endpoint: Endpoint,
    /// Its new health.
    pub to: Health,
}
