//! One TCP session from top to bottom: admit, pick, connect, relay, record.
//!
//! A session is one task on one worker and drives both directions. Admission happens before the task exists, in
//! [`listener`](crate::listener), so that a refused client costs next to nothing; what was admitted arrives here as
//! [`Admitted`] and whatever becomes of it leaves through [`Outcome`].
//!
//! # What was measured
//!
//! With `scripts/bench.sh`, `perf` and `strace -c`, one worker on one CPU (AMD EPYC, Linux 6.18):
//!
//! - An exchange is one `recv` and one `send` a message, and the kernel has 94 % of its CPU time. nginx makes the same
//!   calls; what is left to win on small messages is the other 6 %.
//! - A session's task of 768 bytes instead of 1,280 took a tenth off connect-exchange-close, and 0.5 KiB off an idle session.
//!   That came from two rules: a wait that few sessions need is made when it is needed, and the outermost functions are not
//!   `async fn`, which keep their arguments twice.
//! - Splicing messages of 10 KiB costs 8 % more than copying them: a splice cannot tell that it has emptied the socket,
//!   so each message takes a call more. It cannot be left out: a pipe whose slots are full of small fragments
//!   looks the same, and what then stays in the socket is announced by no event.
//! - Of connect-exchange-close the kernel has 90 % of the time: connect 22 %, close and shutdown 26 %, send 17 %, `epoll_ctl`
//!   6 %, accept and socket 8 %, receive 4 %, `epoll_wait` 3 %. nginx pays the same for the same, without the two `epoll_ctl`
//!   that take a socket out of the runtime before it is closed (3 %), which the runtime leaves no way to spare.
//! - An epoll instance of our own for sessions, within the runtime's, spares those and an allocation a socket. It was tried, on
//!   a busy machine: 2 % off connect-exchange-close and 4 % onto exchanges, whose events then pass two instances. Neither is
//!   above the noise of that day.
//! - TCP_NODELAY is set when a second segment could wait: a system call less for most short sessions.
//! - jemalloc and mimalloc make an idle session 0.3 to 0.4 KiB smaller and save no CPU time; the system's allocator stays.
//! - Bulk is what the kernel makes of it: an HAProxy that always splices, through pipes of 1 MiB and in larger turns, costs
//!   up to a fifth less.

mod connect;
mod direction;
#[cfg(feature = "faults")]
mod fault;
mod outcome;
mod relay;
mod socket;

use std::rc::Rc;

pub use outcome::Outcome;
use relay::Relay;
pub use socket::Socket;

use crate::local::Local;
use crate::local::admitted::Admitted;
use crate::metrics::reason::{CloseReason, RefuseReason};
use crate::pool::listener::TcpView;

/// Serves one session to its end.
///
/// Neither this nor `converse` is an `async fn`: those keep their arguments twice, for as long as the session lives.
pub fn serve(local: Rc<Local>, admitted: Admitted) -> impl Future<Output = ()> {
    let Admitted { fd, client: addr, view, permits, placed, accepted_at } = admitted;
    // First, so that whatever happens from here on the client is reset.
    let client = Socket::accepted(fd);
    let mut outcome = Outcome::open(local.id, &local.registry, &view, addr, accepted_at);
    #[cfg(feature = "faults")]
    fault::panic_at_start_if_asked(&view.state.name);
    async move {
        let reason = match &client {
            Ok(client) => converse(&local, &view, client, &mut outcome).await,
            Err(error) => {
                tracing::debug!(%error, "no room to watch a client");
                CloseReason::Internal
            }
        };
        if reason == CloseReason::NoBackend {
            view.state.stats.at(local.id).refused.at(RefuseReason::NoBackend.index()).add(1);
        }
        outcome.ended(reason);
        drop((permits, placed));
    }
}

/// Connects the client to a backend and relays until one of them, or we, end it.
#[expect(clippy::manual_async_fn, reason = "see `serve`")]
fn converse<'a>(
    local: &'a Local,
    view: &'a TcpView,
    client: &'a Socket,
    outcome: &'a mut Outcome,
) -> impl Future<Output = CloseReason> + 'a {
    async move {
        let timer = local.sessions.enter();
        let key = view.pool.key_of(outcome.client);
        let upstream = match connect::connect(&view.pool, key, client, local, &timer, outcome).await {
            Ok(upstream) => upstream,
            Err(reason) => return reason,
        };
        let state = &upstream.backend.state;
        timer.connected_to(state, upstream.cuts);
        timer.end_after(view.config.idle_timeout, CloseReason::IdleTimeout);
        let backend = &upstream.socket;
        let stats = state.stats.at(local.id);
        let relay = Relay { local, timer: &timer, listener: view, client, backend, stats };
        let reason = relay.run(outcome).await;
        drop(upstream.lease);
        reason
    }
}
