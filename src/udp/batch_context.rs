//! What holds while a batch of datagrams is forwarded.

use crate::pool::listener::UdpView;
use crate::pool::snapshot::Snapshot;
use crate::sys::clock::Tick;

/// The configuration in force and the time, the same for all datagrams of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchContext<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) view: &'a UdpView,
    pub(super) now: Tick,
}
