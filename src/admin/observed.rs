//! What the operator's side looks at.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::control::phase::Phase;
use crate::pool::registry::Registry;
use crate::pool::snapshot::Snapshot;

/// What the pages are made from. All of it is shared and none of it is ever written here.
#[derive(Debug)]
pub struct Observed {
    /// The picture that workers act on.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Every counter.
    pub registry: Arc<Registry>,
    /// Where the process is in its life.
    pub phase: watch::Receiver<Phase>,
}
