//! The backends of a pool as a picker sees them.

use std::sync::Arc;

use super::load::Load;

/// One backend as a picker sees it. Its position in the slice given to [`Picker::build`](super::Picker::build) is what a pick returns.
#[derive(Debug, Clone)]
pub struct Member {
    /// Hash of the backend's identity; never depends on its position.
    pub key: u64,
    /// Relative share; 0 is never picked.
    pub weight: u16,
    /// Whether it may be picked now. Consistent hashing keeps the places of those that may not.
    pub available: bool,
    /// Its sessions.
    pub load: Arc<Load>,
}

impl Member {
    pub(super) fn is_candidate(&self) -> bool {
        self.available && self.weight > 0
    }
}
