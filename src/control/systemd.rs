//! What systemd is told.

use sd_notify::NotifyState;

/// Tells systemd, if it started us.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
