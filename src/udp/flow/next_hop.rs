//! Whether a flow stays with the backend that it has.

use super::state::Unreplied;
use crate::config::OnBackendDown;

/// How long a datagram may wait for its reply before a flow of a lame duck moves. Any service that is worth staying with
/// answers, or acknowledges, within that.
pub(super) const LAME_DUCK_PATIENCE_MS: u64 = 1_000;

/// What is known about the backend of a flow when the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing bad.
    Serving,
    /// Its health says that it is down, or a reload took it away.
    Down,
    /// It refused a datagram of this flow.
    Refusing,
}

/// Where the next datagram of a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextHop {
    /// To the backend that the flow has.
    Same,
    /// To another one.
    Other,
}

impl NextHop {
    /// That of a flow with these datagrams `unreplied`.
    pub(super) fn of(
        unreplied: Option<Unreplied>,
        condition: Condition,
        on_backend_down: OnBackendDown,
        now_ms: u64,
    ) -> Self {
        let has_waited =
            || unreplied.is_some_and(|unreplied| now_ms.saturating_sub(unreplied.since_ms) >= LAME_DUCK_PATIENCE_MS);
        match (condition, on_backend_down) {
            (Condition::Serving, _) | (_, OnBackendDown::Stick) => Self::Same,
            (Condition::Down, OnBackendDown::LameDuck) if !has_waited() => Self::Same,
            (Condition::Down | Condition::Refusing, OnBackendDown::Move | OnBackendDown::LameDuck) => Self::Other,
        }
    }
}
