//! The keys of TCP listeners.

use std::num::NonZeroU32;

use super::capacity::Limits;
use super::presence::refuse;
use crate::config::error::Problems;
use crate::config::file;
use crate::config::types::Tcp;

/// The settings of a TCP listener. One that does not say how many sessions it has may have all there are.
pub(super) fn lower(listener: &file::Listener, limits: &Limits) -> Tcp {
    Tcp {
        max_connections: listener.max_connections.get().unwrap_or(NonZeroU32::MAX).min(limits.sessions),
        idle_timeout: listener.idle_timeout.value(),
        half_close_timeout: listener.half_close_timeout.value(),
    }
}

/// Reports the keys that only a TCP listener has.
pub(super) fn refuse_keys(listener: &file::Listener, problems: &mut Problems) {
    refuse(&listener.max_connections, "TCP", "`max_flows` bounds a UDP listener", problems);
    refuse(&listener.idle_timeout, "TCP", "`flow_idle_timeout` is the key of a UDP listener", problems);
    refuse(&listener.half_close_timeout, "TCP", "leave it out: a flow has no halves to close", problems);
}
