//! The sessions of one worker: how long each may be silent, and how one is told to end.
//!
//! There is no timer per session. Each notes the tick of its last progress, and a sweep ends those that are overdue. The
//! sweep sleeps until the earliest moment at which it could have something to do, so idle sessions cost no CPU.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;

use crate::metrics::reason::CloseReason;
use crate::pool::backend::BackendState;
use crate::sys::clock::Tick;

/// A session in which something has moved, or is still on its way, is checked at multiples of this: whether both sides
/// still answer, and what else needs no precision. All sessions of a worker at once, so that one sweep serves them all.
const CHECKUP: Duration = Duration::from_secs(15);

/// A sweep plans the next one at least this far ahead: the precision of every inactivity limit.
const SWEEP_SPACING: Duration = Duration::from_millis(50);

/// All sessions of one worker.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: RefCell<Slab<Rc<Session>>>,
    /// When the next sweep is due; `None` while nothing could be overdue.
    next_sweep: Cell<Option<Tick>>,
    /// When the last one was.
    swept_at: Cell<Tick>,
    /// Why every session ends, also those that are still to come.
    ending: Cell<Option<CloseReason>>,
    sooner: Notify,
}

/// What a session and the sweep know of each other.
#[derive(Debug)]
struct Session {
    phase: Cell<Phase>,
    /// Wakes the session's task.
    waker: RefCell<Option<Waker>>,
    backend: RefCell<Option<Connected>>,
}

/// How far a session has come, as far as time and orders are concerned.
///
/// ```text
///            limit passed
///   Waiting --------------> Expired       an attempt is given up, the session goes on
///    |   ^                   |   |
///    |   +--next attempt-----+   |
///    | connected                 | connected after all
///    v                           |
///   Relaying <-------------------+
///    |   silent for its limit
///    +--------------------> Ending        also from every other phase, when it is told to
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Something is awaited until then, or without a limit.
    Waiting(Option<Tick>),
    /// What was awaited did not come in time.
    Expired,
    /// Bytes move, or may.
    Relaying(Silence, Checkup),
    /// The session is to end for this reason.
    Ending(CloseReason),
}

/// How long nothing may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Silence {
    /// When something last moved.
    since: Tick,
    limit: Duration,
    /// Why a session ends that was silent for so long.
    reason: CloseReason,
}

/// When a session is checked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkup {
    /// When something has moved.
    Unplanned,
    /// Then.
    At(Tick),
    /// Now, by its own task.
    Due,
}

/// The backend of a session, and the number of cuts that it had before it was connected to.
#[derive(Debug)]
struct Connected {
    backend: Arc<BackendState>,
    cuts: u32,
}

/// Why something was not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitError {
    /// The limit passed.
    Expired,
    /// The session is to end.
    Ending(CloseReason),
}

/// A session's end of the table; dropping it takes the session out.
#[derive(Debug)]
pub struct SessionTimer<'a> {
    sessions: &'a Sessions,
    key: usize,
    session: Rc<Session>,
}

impl Sessions {
    /// Enters a session, without a limit yet.
    pub fn enter(&self) -> SessionTimer<'_> {
        let phase = self.ending.get().map_or(Phase::Waiting(None), Phase::Ending);
        let session =
            Rc::new(Session { phase: Cell::new(phase), waker: RefCell::new(None), backend: RefCell::new(None) });
        let key = self.sessions.borrow_mut().insert(Rc::clone(&session));
        SessionTimer { sessions: self, key, session }
    }

    /// Tells every session to end, those included that are entered from now on.
    pub fn end_all(&self, reason: CloseReason) {
        self.ending.set(Some(reason));
        self.sessions.borrow().iter().for_each(|(_, session)| session.end(reason));
    }

    /// Tells the sessions of backends that were cut to end.
    pub fn end_cut(&self) {
        self.sessions.borrow().iter().for_each(|(_, session)| session.end_if_cut());
    }

    /// Ends overdue sessions, for ever.
    pub async fn sweep(&self) {
        loop {
            match self.next_sweep.get() {
                None => self.sooner.notified().await,
                Some(due) => {
                    let pause = due.since(Tick::now());
                    tokio::select! {
                        () = tokio::time::sleep(pause) => self.sweep_once(Tick::now()),
                        () = self.sooner.notified() => {}
                    }
                }
            }
        }
    }

    /// Ends what is overdue at `now` and notes when something next could be.
    fn sweep_once(&self, now: Tick) {
        self.swept_at.set(now);
        let mut next = None;
        for (_, session) in self.sessions.borrow().iter() {
            session.sweep(now);
            next = match (next, session.phase.get().due()) {
                (Some(next), Some(due)) => Some(due.min(next)),
                (next, due) => next.or(due),
            };
        }
        self.next_sweep.set(next.map(|next| next.max(now.after(SWEEP_SPACING))));
    }

    /// Makes sure that a sweep happens at `due` at the latest, or as soon after that as sweeps may follow each other.
    fn sweep_by(&self, due: Tick) {
        let due = due.max(self.swept_at.get().after(SWEEP_SPACING));
        if self.next_sweep.get().is_none_or(|next| due < next) {
            self.next_sweep.set(Some(due));
            self.sooner.notify_one();
        }
    }
}

impl Phase {
    /// When a sweep next has something to do.
    fn due(self) -> Option<Tick> {
        match self {
            Self::Waiting(until) => until,
            Self::Relaying(silence, Checkup::At(at)) => Some(at.min(silence.over_at())),
            Self::Relaying(silence, Checkup::Unplanned | Checkup::Due) => Some(silence.over_at()),
            Self::Expired | Self::Ending(_) => None,
        }
    }
}

impl Silence {
    fn over_at(self) -> Tick {
        self.since.after(self.limit)
    }
}

impl Session {
    /// Goes on to another phase; a session that is to end stays so.
    fn change(&self, phase: Phase) {
        if !matches!(self.phase.get(), Phase::Ending(_)) {
            self.phase.set(phase);
        }
    }

    /// Does what is due at `now`.
    fn sweep(&self, now: Tick) {
        match self.phase.get() {
            Phase::Waiting(Some(until)) if until <= now => self.phase.set(Phase::Expired),
            Phase::Relaying(silence, _) if silence.over_at() <= now => self.phase.set(Phase::Ending(silence.reason)),
            Phase::Relaying(silence, Checkup::At(at)) if at <= now => {
                self.phase.set(Phase::Relaying(silence, Checkup::Due));
            }
            _ => return,
        }
        self.wake();
    }

    fn end(&self, reason: CloseReason) {
        self.change(Phase::Ending(reason));
        self.wake();
    }

    fn end_if_cut(&self) {
        let is_cut = self.backend.borrow().as_ref().is_some_and(|connected| connected.backend.cuts() != connected.cuts);
        if is_cut {
            self.end(CloseReason::BackendDown);
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl SessionTimer<'_> {
    /// Notes that bytes moved.
    pub fn progressed(&self) {
        if let Phase::Relaying(silence, checkup) = self.session.phase.get() {
            let silence = Silence { since: Tick::now(), ..silence };
            self.session.phase.set(Phase::Relaying(silence, checkup));
            if checkup == Checkup::Unplanned {
                self.plan_checkup();
            }
        }
    }

    /// Whether the session is due for its checkup; asking makes it done.
    pub fn take_checkup(&self) -> bool {
        match self.session.phase.get() {
            Phase::Relaying(silence, Checkup::Due) => {
                self.session.phase.set(Phase::Relaying(silence, Checkup::Unplanned));
                true
            }
            _ => false,
        }
    }

    /// Plans one more checkup, though nothing may move.
    pub fn plan_checkup(&self) {
        if let Phase::Relaying(silence, Checkup::Unplanned) = self.session.phase.get() {
            let at = Tick::now().after(CHECKUP).rounded_up(CHECKUP);
            self.session.phase.set(Phase::Relaying(silence, Checkup::At(at)));
            self.sessions.sweep_by(at);
        }
    }

    /// From now on the session ends with `reason` once it has been silent for `limit`.
    pub fn end_after(&self, limit: Duration, reason: CloseReason) {
        let checkup = match self.session.phase.get() {
            Phase::Relaying(_, checkup) => checkup,
            _ => Checkup::Unplanned,
        };
        let silence = Silence { since: Tick::now(), limit, reason };
        self.session.change(Phase::Relaying(silence, checkup));
        self.sessions.sweep_by(silence.over_at());
    }

    /// Waits for `future`, but not for longer than `limit` and only until the session is to end.
    ///
    /// It is pinned where it lives: taken by value it would be a part of this future twice, in every session.
    ///
    /// # Errors
    /// Which of the two came first.
    pub async fn within<T>(
        &self,
        limit: Duration,
        mut future: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, WaitError> {
        let until = Tick::now().after(limit);
        self.session.change(Phase::Waiting(Some(until)));
        self.sessions.sweep_by(until);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if let Some(reason) = self.poll_end(cx) {
                return Poll::Ready(Err(WaitError::Ending(reason)));
            }
            let is_expired = self.session.phase.get() == Phase::Expired;
            if is_expired { Poll::Ready(Err(WaitError::Expired)) } else { Poll::Pending }
        })
        .await
    }

    /// Notes which backend the session is connected to, and how often that had been cut before the attempt.
    pub fn connected_to(&self, backend: &Arc<BackendState>, cuts: u32) {
        self.session.backend.replace(Some(Connected { backend: Arc::clone(backend), cuts }));
        self.session.end_if_cut();
    }

    /// Why the session is to end, if it is; otherwise the task is woken when it is.
    pub fn poll_end(&self, cx: &Context<'_>) -> Option<CloseReason> {
        if let Phase::Ending(reason) = self.session.phase.get() {
            return Some(reason);
        }
        let mut waker = self.session.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        None
    }
}

impl Drop for SessionTimer<'_> {
    fn drop(&mut self) {
        self.sessions.sessions.borrow_mut().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::pool::backend::BackendKey;
    use crate::pool::health::Health;

    const LIMIT: Duration = Duration::from_secs(10);

    fn enter(sessions: &Sessions, limit: Duration) -> SessionTimer<'_> {
        let timer = sessions.enter();
        timer.end_after(limit, CloseReason::IdleTimeout);
        timer
    }

    fn ending_of(timer: &SessionTimer<'_>) -> Option<CloseReason> {
        timer.poll_end(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_the_overdue_are_ended_and_the_next_sweep_is_when_another_could_be() {
        let sessions = Sessions::default();
        let short = enter(&sessions, LIMIT);
        let long = enter(&sessions, LIMIT * 6);
        let now = Tick::now().after(LIMIT * 2);
        sessions.sweep_once(now);
        assert_eq!(ending_of(&short), Some(CloseReason::IdleTimeout));
        assert_eq!(ending_of(&long), None);
        let next = sessions.next_sweep.get().expect("the long one");
        assert!(next > now && next <= now.after(LIMIT * 4));
        assert!(next > now.after(LIMIT * 3), "nothing moved, so there is nothing to do until it is overdue");
        drop((short, long));
        assert!(sessions.sessions.borrow().is_empty());
    }

    #[test]
    fn a_shorter_limit_brings_the_sweep_forward() {
        let sessions = Sessions::default();
        let timer = enter(&sessions, LIMIT * 100);
        let before = sessions.next_sweep.get();
        timer.end_after(LIMIT, CloseReason::HalfCloseTimeout);
        assert!(sessions.next_sweep.get() < before);
        sessions.sweep_once(Tick::now().after(LIMIT * 2));
        assert_eq!(ending_of(&timer), Some(CloseReason::HalfCloseTimeout));
    }

    #[test]
    fn a_session_is_checked_after_it_moved_however_often_it_does_and_then_left_alone() {
        let sessions = Sessions::default();
        let timer = enter(&sessions, CHECKUP * 100);
        let now = Tick::now();
        sessions.sweep_once(now.after(CHECKUP * 3));
        assert!(!timer.take_checkup(), "nothing has moved");
        timer.progressed();
        timer.progressed();
        sessions.sweep_once(now.after(CHECKUP / 2));
        assert!(!timer.take_checkup(), "not yet");
        timer.progressed();
        sessions.sweep_once(now.after(CHECKUP * 2));
        assert!(timer.take_checkup(), "moving on does not postpone it");
        sessions.sweep_once(now.after(CHECKUP * 6));
        assert!(!timer.take_checkup(), "once is enough while nothing moves");
    }

    #[test]
    fn what_takes_too_long_is_given_up_and_the_session_goes_on() {
        let sessions = Sessions::default();
        let timer = sessions.enter();
        let mut never = pin!(std::future::pending::<()>());
        let mut waiting = Box::pin(timer.within(LIMIT, never.as_mut()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        sessions.sweep_once(Tick::now().after(LIMIT / 2));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        sessions.sweep_once(Tick::now().after(LIMIT * 2));
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(Err(WaitError::Expired)));
        assert_eq!(ending_of(&timer), None);
        drop(waiting);
        let mut again = Box::pin(timer.within(LIMIT, never));
        assert!(again.as_mut().poll(&mut cx).is_pending(), "a new limit for a new wait");
        sessions.end_all(CloseReason::Shutdown);
        assert_eq!(again.as_mut().poll(&mut cx), Poll::Ready(Err(WaitError::Ending(CloseReason::Shutdown))));
    }

    #[test]
    fn a_cut_ends_the_sessions_connected_before_it() {
        let key = BackendKey { pool: "pool".into(), backend: "backend".into() };
        let backend = Arc::new(BackendState::new(key, 1, Health::Up));
        let sessions = Sessions::default();
        let before = enter(&sessions, LIMIT);
        before.connected_to(&backend, 0);
        backend.cut();
        let after = enter(&sessions, LIMIT);
        after.connected_to(&backend, 1);
        let during = enter(&sessions, LIMIT);
        during.connected_to(&backend, 0);
        assert_eq!(ending_of(&during), Some(CloseReason::BackendDown));
        sessions.end_cut();
        assert_eq!(ending_of(&before), Some(CloseReason::BackendDown));
        assert_eq!(ending_of(&after), None);
    }

    #[test]
    fn a_session_that_comes_when_all_are_told_to_end_is_told_too() {
        let sessions = Sessions::default();
        sessions.end_all(CloseReason::Shutdown);
        let late = enter(&sessions, LIMIT);
        assert_eq!(ending_of(&late), Some(CloseReason::Shutdown));
    }

    #[test]
    fn the_first_reason_to_end_stands() {
        let sessions = Sessions::default();
        let timer = enter(&sessions, LIMIT);
        sessions.end_all(CloseReason::BackendDown);
        sessions.end_all(CloseReason::Shutdown);
        assert_eq!(ending_of(&timer), Some(CloseReason::BackendDown));
    }
}
