//! Both directions of an established session, until it ends.
//!
//! FIN on one side becomes FIN on the other once everything before it is delivered; the other direction goes on. A reset
//! on one side becomes a reset on the other, at any time: while a side is read the read reports it, and while it is not
//! (its stream has ended, or its bytes find no room) its socket is watched.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::direction::{Broken, Direction, Waiting};
use super::outcome::Outcome;
use super::socket::Socket;
use crate::local::Local;
use crate::local::sessions::SessionTimer;
use crate::metrics::reason::{CloseReason, Side};
use crate::metrics::stats::BackendStats;
use crate::pool::listener::TcpView;
use crate::sys::errno::{self, Cause};
use crate::sys::tcp_info::Answer;

/// A session whose two sides are connected.
pub(super) struct Relay<'a> {
    pub(super) local: &'a Local,
    pub(super) timer: &'a SessionTimer<'a>,
    pub(super) listener: &'a TcpView,
    pub(super) client: &'a Socket,
    pub(super) backend: &'a Socket,
    pub(super) stats: &'a BackendStats,
}

/// How far a session has come.
struct Progress {
    upstream: Direction,
    downstream: Direction,
    half_closed: bool,
}

impl Relay<'_> {
    /// Moves bytes both ways until the session ends; says why it did, and notes in `outcome` what moved.
    pub(super) async fn run(&self, outcome: &mut Outcome) -> CloseReason {
        let mut progress = Progress { upstream: Direction::new(), downstream: Direction::new(), half_closed: false };
        let mut client_broken = None;
        let mut backend_broken = None;
        poll_fn(|cx| {
            #[cfg(feature = "faults")]
            super::fault::panic_if_asked(&self.listener.state.name, self.client);
            if let Some(reason) = self.timer.poll_end(cx) {
                return Poll::Ready(reason);
            }
            if self.timer.take_checkup()
                && let Some(lost) = self.check_up(&mut progress)
            {
                return Poll::Ready(lost);
            }
            let waiting = progress.pump(cx, self);
            self.account(&mut progress, outcome);
            let (upstream, downstream) = match waiting {
                // Closing both sockets tells both sides.
                Ok((Waiting::Nothing, Waiting::Nothing)) => return Poll::Ready(self.finished()),
                Ok(waiting) => waiting,
                Err(reason) => return Poll::Ready(reason),
            };
            if let Err(reason) = progress.pass_on_ends(self) {
                return Poll::Ready(reason);
            }
            if let Poll::Ready(error) = watch(cx, upstream, &mut client_broken, || self.client.broken()) {
                return Poll::Ready(client_failed(&error));
            }
            if let Poll::Ready(error) = watch(cx, downstream, &mut backend_broken, || self.backend.broken()) {
                return Poll::Ready(backend_failed(&error));
            }
            Poll::Pending
        })
        .await
    }

    /// Adds what moved since the last time to the counters, and notes the progress.
    fn account(&self, progress: &mut Progress, outcome: &mut Outcome) {
        let bytes_up = progress.upstream.delivered() - outcome.bytes_up;
        let bytes_down = progress.downstream.delivered() - outcome.bytes_down;
        if bytes_up + bytes_down > 0 {
            self.stats.bytes_upstream.add(bytes_up);
            self.stats.bytes_downstream.add(bytes_down);
            outcome.bytes_up += bytes_up;
            outcome.bytes_down += bytes_down;
            self.timer.progressed();
            self.local.activity.note();
            if bytes_down > 0 {
                outcome.answered();
            } else {
                outcome.asked();
            }
        }
        if !progress.half_closed && (progress.upstream.has_ended() || progress.downstream.has_ended()) {
            progress.half_closed = true;
            let is_client = progress.upstream.has_ended();
            outcome.first_to_end = Some(if is_client { Side::Downstream } else { Side::Upstream });
            let config = &self.listener.config;
            let limit = config.half_close_timeout.min(config.idle_timeout);
            self.timer.end_after(limit, CloseReason::HalfCloseTimeout);
        }
    }

    /// What a session that lives for more than a few seconds needs now and then; the reason to end if a side has stopped
    /// answering.
    ///
    /// Keepalive is switched on here, so that short sessions are spared its four system calls; accepted sockets inherit
    /// it. Reading is tried again, because a read that stopped at a mark of urgent data looks like one that has emptied
    /// the socket.
    fn check_up(&self, progress: &mut Progress) -> Option<CloseReason> {
        self.backend.keep_alive();
        for socket in [self.client, self.backend] {
            socket.suspect_unread();
        }
        progress.upstream.prefer_copying();
        progress.downstream.prefer_copying();
        let answers = [self.client.answer(), self.backend.answer()];
        match answers {
            [Answer::Lost, _] => return Some(CloseReason::ClientLost),
            [_, Answer::Lost] => return Some(CloseReason::BackendLost),
            [Answer::NothingAsked, Answer::NothingAsked] => {}
            _ => self.timer.plan_checkup(),
        }
        None
    }

    fn finished(&self) -> CloseReason {
        self.client.close_in_order();
        self.backend.close_in_order();
        CloseReason::Finished
    }
}

impl Progress {
    /// Moves what can be moved in both directions; what each waits for, or why the session is over.
    fn pump(&mut self, cx: &mut Context<'_>, relay: &Relay<'_>) -> Result<(Waiting, Waiting), CloseReason> {
        let Relay { client, backend, local, .. } = *relay;
        let upstream = self.upstream.pump(cx, client, backend, local).map_err(|broken| match broken {
            Broken::Source(error) => client_failed(&error),
            Broken::Sink(error) => backend_failed(&error),
        })?;
        let downstream = self.downstream.pump(cx, backend, client, local).map_err(|broken| match broken {
            Broken::Source(error) => backend_failed(&error),
            Broken::Sink(error) => client_failed(&error),
        })?;
        Ok((upstream, downstream))
    }

    /// Tells each side that the other has ended, once everything before that is delivered.
    fn pass_on_ends(&mut self, relay: &Relay<'_>) -> Result<(), CloseReason> {
        self.upstream.pass_on_end(relay.backend).map_err(|error| backend_failed(&error))?;
        self.downstream.pass_on_end(relay.client).map_err(|error| client_failed(&error))
    }
}

/// Watches a source for a break while it is not being read.
///
/// The wait is large next to the rest of a session, and most sessions that keep still never needed one: it is made at
/// first use, apart, and kept from then on.
fn watch<F: Future<Output = io::Error>>(
    cx: &mut Context<'_>,
    waiting: Waiting,
    broken: &mut Option<Pin<Box<F>>>,
    wait: impl FnOnce() -> F,
) -> Poll<io::Error> {
    if waiting == Waiting::ForSource {
        return Poll::Pending;
    }
    broken.get_or_insert_with(|| Box::pin(wait())).as_mut().poll(cx)
}

fn client_failed(error: &io::Error) -> CloseReason {
    match errno::cause(error) {
        Cause::Reset => CloseReason::ClientReset,
        cause if is_of_the_way(cause) => CloseReason::ClientLost,
        _ => CloseReason::Internal,
    }
}

fn backend_failed(error: &io::Error) -> CloseReason {
    match errno::cause(error) {
        Cause::Reset => CloseReason::BackendReset,
        cause if is_of_the_way(cause) => CloseReason::BackendLost,
        _ => CloseReason::Internal,
    }
}

/// Whether an established connection broke because the machine at its other end can no longer be reached.
fn is_of_the_way(cause: Cause) -> bool {
    matches!(cause, Cause::TimedOut | Cause::Unreachable | Cause::Prohibited)
}
