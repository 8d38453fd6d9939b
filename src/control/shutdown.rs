//! The end of the process: accept no more, let sessions finish, end the rest.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, timeout_at};

use super::Control;
use super::inbox::Event;
use super::phase::Phase;
use super::signals::Signal;
use super::systemd::notify;
use crate::metrics::reason::CloseReason;
use crate::worker::Command;

/// How long sessions that were told to end may take to leave their records.
const LAST_RECORDS: Duration = Duration::from_secs(1);

/// Between two looks at whether sessions or flows are left.
const POLL: Duration = Duration::from_millis(20);

/// How a wait for the last session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// No session and no flow is left.
    All,
    /// The time was over, or another signal came.
    NotAll,
}

impl Control {
    /// Stops accepting, lets sessions finish until the deadline or a second signal, then ends them.
    pub(super) async fn shut_down(mut self) {
        let limit = self.sources.file.shutdown_timeout;
        let (sessions, flows) = self.outstanding();
        tracing::info!(sessions, flows, timeout = ?limit, "shutting down");
        notify(&[NotifyState::Stopping]);
        self.phase.send_replace(Phase::Draining);
        self.opening.close_all();
        self.workers.tell_all(|| Command::RetireAll);
        self.binder.unlink_all();

        if self.drain_until(Instant::now() + limit).await == Drained::NotAll {
            let (sessions, flows) = self.outstanding();
            if sessions > 0 || flows > 0 {
                tracing::warn!(sessions, flows, "ending the sessions and flows that are left");
            }
            self.workers.tell_all(|| Command::EndAll(CloseReason::Shutdown));
            self.drain_until(Instant::now() + LAST_RECORDS).await;
        }
        self.workers.stop().await;
        self.phase.send_replace(Phase::Stopped);
        tracing::info!("stopped");
    }

    /// Sessions and flows of all workers, whether or not a worker has closed its sockets.
    fn outstanding(&self) -> (u32, u64) {
        let registry = &self.publisher.registry;
        (registry.sessions.admitted(), registry.active_flows())
    }

    /// Waits until neither session nor flow is left.
    async fn drain_until(&mut self, deadline: Instant) -> Drained {
        // Retired sockets still serve what the kernel has queued for them.
        let mut quiet_until = Instant::now() + crate::listener::RETIREMENT + POLL;
        loop {
            let now = Instant::now();
            if self.outstanding() != (0, 0) {
                quiet_until = quiet_until.max(now);
            } else if now >= quiet_until {
                return Drained::All;
            }
            if now >= deadline {
                return Drained::NotAll;
            }
            match timeout_at((now + POLL).min(deadline), self.inbox.next()).await {
                Ok(Event::Signal(Signal::Terminate)) => return Drained::NotAll,
                Ok(Event::Signal(Signal::Reload) | Event::Read(_)) => tracing::warn!("no reload while shutting down"),
                Ok(Event::Health(changes)) => self.take_health(&changes),
                Ok(Event::ShutDown | Event::Resolved(_)) | Err(_) => {}
            }
        }
    }
}
