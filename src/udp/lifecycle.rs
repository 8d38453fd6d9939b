//! How far an address is on its way to its end.

use std::time::Duration;

use tokio::sync::watch;

use crate::sys::clock::Tick;

/// How long answers may still come on an address that a reload has taken away. Within the time that the control plane
/// remembers such an address.
const RETIREMENT: Duration = Duration::from_secs(1);

/// What becomes of those who send to an address. Its worker says what comes next.
///
/// ```text
///            the process stops
/// Serving ──────────────────────► Draining ──► Ended
///    │                               │
///    │  a reload takes it away       ▼
///    └──────────────────────────► Retiring ──`ends_at`, or nothing is left to be done──► over
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Every client is served.
    Serving,
    /// The flows that there are are served to their end, and none begins. The socket stays as long as other workers drain:
    /// without it the kernel would give their clients to the wrong ones.
    Draining,
    /// What is queued is served, and answers to it are waited for.
    Retiring {
        /// For so long.
        ends_at: Tick,
    },
    /// Every flow is ended at once.
    Ended,
}

impl Lifecycle {
    /// That of an address which is given up now.
    pub fn retiring() -> Self {
        Self::Retiring { ends_at: Tick::now().after(RETIREMENT) }
    }

    /// When it is over, whatever is left to be done.
    pub(super) fn ends_at(self) -> Option<Tick> {
        match self {
            Self::Retiring { ends_at } => Some(ends_at),
            Self::Serving | Self::Draining | Self::Ended => None,
        }
    }

    /// Waits to be told what comes next, which may be the same once more. When the sender is gone the address is given up.
    pub(super) async fn next(self, told: &mut watch::Receiver<Self>) -> Self {
        match told.changed().await {
            Ok(()) => *told.borrow_and_update(),
            Err(_) if matches!(self, Self::Retiring { .. }) => std::future::pending().await,
            Err(_) => Self::retiring(),
        }
    }
}
