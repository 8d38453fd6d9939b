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
    tickets: RefCell<Slab<Rc<Ticket>>>,
    /// When the next sweep is due; `None` while nothing could be overdue.
    next_sweep: Cell<Option<Tick>>,
    sooner: Notify,
}

/// What a session and the worker know of each other.
#[derive(Debug)]
pub struct Ticket {
    key: Cell<usize>,
    progress: Cell<Tick>,
    limit: Cell<Duration>,
    overdue: Cell<Overdue>,
    has_expired: Cell<bool>,
    order: Cell<Option<CloseReason>>,
    /// When the session is checked next; `None` after a check until something moves.
    checkup_at: Cell<Option<Tick>>,
    is_due_for_checkup: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The backend and the number of cuts it had when the session was connected to it.
    backend: RefCell<Option<(Arc<BackendState>, u32)>>,
}

/// What happens to a session that is silent for longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    /// It ends.
    End(CloseReason),
    /// What it is waiting for is given up.
    Expire,
}

/// Why waiting for something within a limit was in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InVain {
    /// The limit passed.
    Expired,
    /// The session is to end.
    Ordered(CloseReason),
}

/// A session's entry in the table; dropping it removes the entry.
#[derive(Debug)]
pub struct Entry<'a> {
    sessions: &'a Sessions,
    ticket: Rc<Ticket>,
}

impl Sessions {
    /// Enters a session, without a limit yet.
    pub fn enter(&self) -> Entry<'_> {
        let ticket = Rc::new(Ticket {
            key: Cell::new(0),
            progress: Cell::new(Tick::now()),
            limit: Cell::new(Duration::MAX),
            overdue: Cell::new(Overdue::Expire),
            has_expired: Cell::new(false),
            order: Cell::new(None),
            checkup_at: Cell::new(None),
            is_due_for_checkup: Cell::new(false),
            waker: RefCell::new(None),
            backend: RefCell::new(None),
        });
        ticket.key.set(self.tickets.borrow_mut().insert(Rc::clone(&ticket)));
        Entry { sessions: self, ticket }
    }

    /// Tells every session to end.
    pub fn end_all(&self, reason: CloseReason) {
        self.tickets.borrow().iter().for_each(|(_, ticket)| ticket.end(reason));
    }

    /// Tells the sessions of backends that were cut to end.
    pub fn end_cut(&self) {
        for (_, ticket) in self.tickets.borrow().iter() {
            let is_cut = matches!(&*ticket.backend.borrow(), Some((backend, cuts)) if backend.cuts() != *cuts);
            if is_cut {
                ticket.end(CloseReason::BackendDown);
            }
        }
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
        let mut next = None;
        for (_, ticket) in self.tickets.borrow().iter() {
            if ticket.overdue_at() <= now {
                ticket.expire();
                continue;
            }
            ticket.check_up(now);
            let due = ticket.due();
            next = Some(next.map_or(due, |next: Tick| next.min(due)));
        }
        self.next_sweep.set(next.map(|next| next.max(now.after(SWEEP_SPACING))));
    }

    /// Makes sure that a sweep happens at `due` at the latest.
    fn sweep_by(&self, due: Tick) {
        if self.next_sweep.get().is_none_or(|next| due < next) {
            self.next_sweep.set(Some(due));
            self.sooner.notify_one();
        }
    }
}

impl Ticket {
    /// When a sweep next has something to do for this session.
    fn due(&self) -> Tick {
        self.checkup_at.get().map_or(self.overdue_at(), |checkup| checkup.min(self.overdue_at()))
    }

    fn overdue_at(&self) -> Tick {
        self.progress.get().after(self.limit.get())
    }

    /// Wakes the session for its checkup if that is due.
    fn check_up(&self, now: Tick) {
        if self.checkup_at.get().is_some_and(|checkup| checkup <= now) {
            self.checkup_at.set(None);
            self.is_due_for_checkup.set(true);
            self.wake();
        }
    }

    fn expire(&self) {
        match self.overdue.get() {
            Overdue::End(reason) => self.end(reason),
            Overdue::Expire => {
                self.has_expired.set(true);
                self.wake();
            }
        }
    }

    fn end(&self, reason: CloseReason) {
        if self.order.get().is_none() {
            self.order.set(Some(reason));
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Entry<'_> {
    /// Notes that bytes moved.
    pub fn progressed(&self) {
        self.ticket.progress.set(Tick::now());
        self.plan_checkup();
    }

    /// Whether the session is due for its checkup; asking makes it done.
    pub fn is_due_for_checkup(&self) -> bool {
        self.ticket.is_due_for_checkup.take()
    }

    /// Has the session checked once more, though nothing may move.
    pub fn plan_checkup(&self) {
        if self.ticket.checkup_at.get().is_none() {
            self.ticket.checkup_at.set(Some(Tick::now().after(CHECKUP).rounded_up(CHECKUP)));
            self.sessions.sweep_by(self.ticket.due());
        }
    }

    /// From now on the session ends with `reason` once it has been silent for `limit`.
    pub fn end_after(&self, limit: Duration, reason: CloseReason) {
        self.set_limit(limit, Overdue::End(reason));
    }

    /// Waits for `future`, but not for longer than `limit` and only until the session is to end.
    ///
    /// It is pinned where it lives: taken by value it would be a part of this future twice, in every session.
    ///
    /// # Errors
    /// Which of the two came first.
    pub async fn within<T>(&self, limit: Duration, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T, InVain> {
        self.ticket.has_expired.set(false);
        self.set_limit(limit, Overdue::Expire);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if let Some(reason) = self.poll_order(cx) {
                return Poll::Ready(Err(InVain::Ordered(reason)));
            }
            if self.ticket.has_expired.get() { Poll::Ready(Err(InVain::Expired)) } else { Poll::Pending }
        })
        .await
    }

    fn set_limit(&self, limit: Duration, overdue: Overdue) {
        self.ticket.progress.set(Tick::now());
        self.ticket.limit.set(limit);
        self.ticket.overdue.set(overdue);
        self.sessions.sweep_by(self.ticket.due());
    }

    /// Notes which backend the session is connected to, and how often that had been cut before the attempt.
    pub fn connected_to(&self, backend: &Arc<BackendState>, cuts: u32) {
        if backend.cuts() != cuts {
            self.ticket.end(CloseReason::BackendDown);
        }
        self.ticket.backend.replace(Some((Arc::clone(backend), cuts)));
    }

    /// The order to end, if there is one; otherwise the task is woken when it comes.
    pub fn poll_order(&self, cx: &Context<'_>) -> Option<CloseReason> {
        let order = self.ticket.order.get();
        if order.is_none() {
            let mut waker = self.ticket.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        order
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.sessions.tickets.borrow_mut().remove(self.ticket.key.get());
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::pool::backend::BackendKey;
    use crate::pool::health::Status;

    const LIMIT: Duration = Duration::from_secs(10);

    fn enter(sessions: &Sessions, limit: Duration) -> Entry<'_> {
        let entry = sessions.enter();
        entry.end_after(limit, CloseReason::IdleTimeout);
        entry
    }

    fn order_of(entry: &Entry<'_>) -> Option<CloseReason> {
        entry.poll_order(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_the_overdue_are_ended_and_the_next_sweep_is_when_another_could_be() {
        let sessions = Sessions::default();
        let short = enter(&sessions, LIMIT);
        let long = enter(&sessions, LIMIT * 6);
        let now = Tick::now().after(LIMIT * 2);
        sessions.sweep_once(now);
        assert_eq!(order_of(&short), Some(CloseReason::IdleTimeout));
        assert_eq!(order_of(&long), None);
        let next = sessions.next_sweep.get().expect("the long one");
        assert!(next > now && next <= now.after(LIMIT * 4));
        assert!(next > now.after(LIMIT * 3), "nothing moved, so there is nothing to do until it is overdue");
        drop((short, long));
        assert!(sessions.tickets.borrow().is_empty());
    }

    #[test]
    fn a_shorter_limit_brings_the_sweep_forward() {
        let sessions = Sessions::default();
        let entry = enter(&sessions, LIMIT * 100);
        let before = sessions.next_sweep.get();
        entry.end_after(LIMIT, CloseReason::HalfCloseTimeout);
        assert!(sessions.next_sweep.get() < before);
        sessions.sweep_once(Tick::now().after(LIMIT * 2));
        assert_eq!(order_of(&entry), Some(CloseReason::HalfCloseTimeout));
    }

    #[test]
    fn a_session_is_checked_after_it_moved_however_often_it_does_and_then_left_alone() {
        let sessions = Sessions::default();
        let entry = enter(&sessions, CHECKUP * 100);
        let now = Tick::now();
        sessions.sweep_once(now.after(CHECKUP * 3));
        assert!(!entry.is_due_for_checkup(), "nothing has moved");
        entry.progressed();
        entry.progressed();
        sessions.sweep_once(now.after(CHECKUP / 2));
        assert!(!entry.is_due_for_checkup(), "not yet");
        entry.progressed();
        sessions.sweep_once(now.after(CHECKUP * 2));
        assert!(entry.is_due_for_checkup(), "moving on does not postpone it");
        sessions.sweep_once(now.after(CHECKUP * 6));
        assert!(!entry.is_due_for_checkup(), "once is enough while nothing moves");
    }

    #[test]
    fn what_takes_too_long_is_given_up_and_the_session_goes_on() {
        let sessions = Sessions::default();
        let entry = sessions.enter();
        let mut never = pin!(std::future::pending::<()>());
        let mut waiting = Box::pin(entry.within(LIMIT, never.as_mut()));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        sessions.sweep_once(Tick::now().after(LIMIT / 2));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        sessions.sweep_once(Tick::now().after(LIMIT * 2));
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(Err(InVain::Expired)));
        assert_eq!(order_of(&entry), None);
        drop(waiting);
        let mut again = Box::pin(entry.within(LIMIT, never));
        assert!(again.as_mut().poll(&mut cx).is_pending(), "a new limit for a new wait");
        sessions.end_all(CloseReason::Shutdown);
        assert_eq!(again.as_mut().poll(&mut cx), Poll::Ready(Err(InVain::Ordered(CloseReason::Shutdown))));
    }

    #[test]
    fn a_cut_ends_the_sessions_connected_before_it() {
        let key = BackendKey { pool: "pool".into(), backend: "backend".into() };
        let backend = Arc::new(BackendState::new(key, 1, Status::Up));
        let sessions = Sessions::default();
        let before = enter(&sessions, LIMIT);
        before.connected_to(&backend, 0);
        backend.cut();
        let after = enter(&sessions, LIMIT);
        after.connected_to(&backend, 1);
        let during = enter(&sessions, LIMIT);
        during.connected_to(&backend, 0);
        assert_eq!(order_of(&during), Some(CloseReason::BackendDown));
        sessions.end_cut();
        assert_eq!(order_of(&before), Some(CloseReason::BackendDown));
        assert_eq!(order_of(&after), None);
    }

    #[test]
    fn the_first_order_stands() {
        let sessions = Sessions::default();
        let entry = enter(&sessions, LIMIT);
        sessions.end_all(CloseReason::BackendDown);
        sessions.end_all(CloseReason::Shutdown);
        assert_eq!(order_of(&entry), Some(CloseReason::BackendDown));
    }
}
