//! Accepting: one loop per worker and bound address.
//!
//! The loop never awaits a client, never spins and never gives up. What a peer did wrong is retried at once; when
//! descriptors or memory run out it pauses. Limits are checked here, before a task exists, so that refusing costs an
//! accept and a close.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::local::Local;
use crate::local::admitted::Admitted;
use crate::metrics::reason::RefuseReason;
use crate::pool::admission::{Full, Limits, Permits};
use crate::pool::listener::TcpView;
use crate::pool::snapshot::{BindId, Snapshot};
use crate::sys::clock::Tick;
use crate::sys::errno;
use crate::sys::readiness;
use crate::sys::socket::{self, Accepted, ClientAddr};

/// Connections accepted before other tasks of the worker get their turn.
const BATCH: usize = 16;

/// How long accepting rests when descriptors or memory run out. Ten tries a second cost nothing and resume soon.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long a retired socket still serves handshakes that had begun: a long round trip.
pub const RETIREMENT: Duration = Duration::from_millis(250);

/// A bound listening socket on one worker.
#[derive(Debug)]
pub struct Acceptor {
    local: Rc<Local>,
    bind: BindId,
    socket: AsyncFd<OwnedFd>,
}

/// What a batch of accepts ended with.
enum Batch {
    /// Nothing waits any more.
    Drained,
    /// More may wait.
    Full,
    /// Descriptors or memory ran out.
    Exhausted,
}

impl Acceptor {
    /// Watches a listening socket on the current worker.
    ///
    /// # Errors
    /// The kernel has no room for another watch.
    pub fn new(local: Rc<Local>, bind: BindId, socket: OwnedFd) -> io::Result<Self> {
        let socket = readiness::watch(socket, Interest::READABLE)?;
        Ok(Self { local, bind, socket })
    }

    /// Accepts until `retired` is signalled or dropped, then serves what the kernel has queued and closes.
    pub async fn run(self, spawn: impl Fn(Admitted), retired: oneshot::Receiver<()>) {
        tokio::select! {
            biased;
            _ = retired => {}
            () = self.accept(&spawn) => {}
        }
        // Nothing new comes from here on: over TCP by this filter, over a unix socket because its file is gone.
        if let Err(error) = socket::ignore_new_connections(self.socket.as_fd()) {
            tracing::debug!(%error, "a retired socket still takes connections until it is closed");
        }
        let _elapsed = timeout(RETIREMENT, self.accept(&spawn)).await;
        while matches!(self.accept_batch(&spawn), Batch::Full) {}
    }

    /// Accepts for ever.
    async fn accept(&self, spawn: &impl Fn(Admitted)) {
        loop {
            let Ok(mut guard) = self.socket.readable().await else {
                // Only the end of the runtime makes this fail.
                return;
            };
            match self.accept_batch(spawn) {
                Batch::Drained => guard.clear_ready(),
                Batch::Full => tokio::task::yield_now().await,
                Batch::Exhausted => sleep(EXHAUSTED_PAUSE).await,
            }
        }
    }

    fn accept_batch(&self, spawn: &impl Fn(Admitted)) -> Batch {
        for _ in 0..BATCH {
            match socket::accept(self.socket.as_fd()) {
                Ok((fd, client)) => self.admit(fd, client, spawn),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Batch::Drained,
                Err(error) if errno::is_of_one_connection(&error) => {}
                Err(error) => {
                    if let Some(suppressed) = self.local.registry.exhaustion.allow(Tick::now()) {
                        tracing::warn!(%error, suppressed, "accepting rests, out of resources");
                    }
                    return Batch::Exhausted;
                }
            }
        }
        Batch::Full
    }

    /// Makes a session of a connection, here or on a less busy worker, unless a limit says no.
    fn admit(&self, fd: Accepted, client: ClientAddr, spawn: &impl Fn(Admitted)) {
        self.local.activity.note();
        let accepted_at = Instant::now();
        let admit = |snapshot: &Snapshot| {
            let view = snapshot.tcp(self.bind)?;
            Some((Arc::clone(view), self.permits(view, snapshot.config.max_connections.get())))
        };
        let Some((view, permits)) = self.local.with_snapshot(admit) else {
            // The listener is gone from the configuration and this was queued after its last snapshot: it is reset.
            return;
        };
        let permits = match permits {
            Ok(permits) => permits,
            Err(reason) => return self.refuse(fd, &view, reason),
        };
        let placed = self.local.placement.place(self.local.id);
        let admitted = Admitted { fd, client, view, permits, placed, accepted_at };
        match self.hand_over(admitted) {
            None => {}
            Some(own) => spawn(own),
        }
    }

    fn permits(&self, view: &TcpView, process_limit: u32) -> Result<Permits, RefuseReason> {
        let limits = Limits {
            listener: view.config.max_connections.get(),
            process: Some((&self.local.registry.sessions, process_limit)),
            source: None,
        };
        view.state.admission.admit(limits).map_err(|full| match full {
            Full::Listener | Full::Source => RefuseReason::ListenerFull,
            Full::Process => RefuseReason::ProcessFull,
        })
    }

    fn refuse(&self, fd: Accepted, view: &TcpView, reason: RefuseReason) {
        drop(fd);
        view.state.stats.at(self.local.id).refused.at(reason.index()).add(1);
        if let Some(suppressed) = self.local.registry.refusals.allow(Tick::now()) {
            let listener = view.state.name.as_str();
            tracing::warn!(listener, reason = reason.label(), suppressed, "connection refused");
        }
    }

    /// Gives the session to the worker that it was placed on; back comes what stays here.
    fn hand_over(&self, mut admitted: Admitted) -> Option<Admitted> {
        let chosen = admitted.placed.worker();
        if chosen == self.local.id {
            return Some(admitted);
        }
        match self.local.inboxes[chosen.0].try_send(admitted) {
            Ok(()) => {
                self.local.registry.workers.at(self.local.id).handed_over.add(1);
                None
            }
            // A worker that does not keep up with its queue is not less busy after all.
            Err(refused) => {
                admitted = refused.into_inner();
                admitted.placed = self.local.placement.place_at(self.local.id);
                Some(admitted)
            }
        }
    }
}
