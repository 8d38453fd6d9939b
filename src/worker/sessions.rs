//! The sessions of one worker: how long each may be silent, and how one is told to end.
//!
//! There is no timer per session. Each notes the tick of its last progress, and a sweep ends those that are overdue. The
//! sweep sleeps until the earliest moment at which it could have something to do, so idle sessions cost no CPU.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;

use crate::metrics::reason::CloseReason;
use crate::pool::backend::BackendState;
use crate::sys::clock::Tick;

/// A session that has been silent for this long looks once whether a peer is gone with data outstanding; while one might
/// be, it looks again after as long.
const SILENCE: Duration = Duration::from_secs(15);

/// Two sweeps are at least this far apart: the precision of every inactivity limit.
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
    /// What an overdue session ends with.
    overdue: Cell<CloseReason>,
    order: Cell<Option<CloseReason>>,
    /// When the session is to look after its peers; `None` once it has and found nothing outstanding.
    look_at: Cell<Option<Tick>>,
    is_to_look: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// The backend and the number of cuts it had when the session was connected to it.
    backend: RefCell<Option<(Arc<BackendState>, u32)>>,
}

/// A session's entry in the table; dropping it removes the entry.
#[derive(Debug)]
pub struct Entry<'a> {
    sessions: &'a Sessions,
    ticket: Rc<Ticket>,
}

impl Sessions {
    /// Enters a session that may not be silent for longer than `limit`.
    pub fn enter(&self, limit: Duration) -> Entry<'_> {
        let ticket = Rc::new(Ticket {
            key: Cell::new(0),
            progress: Cell::new(Tick::now()),
            limit: Cell::new(limit),
            overdue: Cell::new(CloseReason::IdleTimeout),
            order: Cell::new(None),
            look_at: Cell::new(Some(Tick::now().after(SILENCE))),
            is_to_look: Cell::new(false),
            waker: RefCell::new(None),
            backend: RefCell::new(None),
        });
        ticket.key.set(self.tickets.borrow_mut().insert(Rc::clone(&ticket)));
        self.sweep_by(ticket.due());
        Entry { sessions: self, ticket }
    }

    /// Sessions in the table.
    pub fn len(&self) -> usize {
        self.tickets.borrow().len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
                ticket.end(ticket.overdue.get());
                continue;
            }
            ticket.look_if_silent(now);
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
        self.look_at.get().map_or(self.overdue_at(), |look_at| look_at.min(self.overdue_at()))
    }

    fn overdue_at(&self) -> Tick {
        self.progress.get().after(self.limit.get())
    }

    /// Sends the session to look after its peers if it has been silent for long enough.
    fn look_if_silent(&self, now: Tick) {
        if self.look_at.get().is_none_or(|look_at| now < look_at) {
            return;
        }
        let silent_at = self.progress.get().after(SILENCE);
        if now < silent_at {
            self.look_at.set(Some(silent_at));
            return;
        }
        self.look_at.set(None);
        self.is_to_look.set(true);
        self.wake();
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
        if self.ticket.look_at.get().is_none() {
            self.look_again();
        }
    }

    /// Whether the session is to look after its peers now.
    pub fn is_to_look(&self) -> bool {
        self.ticket.is_to_look.take()
    }

    /// Asks to be sent to look once more.
    pub fn look_again(&self) {
        self.ticket.look_at.set(Some(Tick::now().after(SILENCE)));
        self.sessions.sweep_by(self.ticket.due());
    }

    /// Changes how long the session may be silent from now on, and what it ends with when it is.
    pub fn limit(&self, limit: Duration, overdue: CloseReason) {
        self.ticket.progress.set(Tick::now());
        self.ticket.limit.set(limit);
        self.ticket.overdue.set(overdue);
        self.sessions.sweep_by(self.ticket.due());
    }

    /// Notes which backend the session is connected to.
    pub fn connected_to(&self, backend: &Arc<BackendState>) {
        self.ticket.backend.replace(Some((Arc::clone(backend), backend.cuts())));
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
    use super::*;
    use crate::pool::backend::BackendKey;
    use crate::pool::health::Status;

    const LIMIT: Duration = Duration::from_secs(10);

    fn order_of(entry: &Entry<'_>) -> Option<CloseReason> {
        entry.poll_order(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_the_overdue_are_ended_and_the_next_sweep_is_when_another_could_be() {
        let sessions = Sessions::default();
        let short = sessions.enter(LIMIT);
        let long = sessions.enter(LIMIT * 6);
        let now = Tick::now().after(LIMIT * 2);
        sessions.sweep_once(now);
        assert_eq!(order_of(&short), Some(CloseReason::IdleTimeout));
        assert_eq!(order_of(&long), None);
        let next = sessions.next_sweep.get().expect("the long one");
        assert!(next > now && next <= now.after(LIMIT * 4));
        assert!(next > now.after(LIMIT * 3), "it has looked after its peers and has nothing to do until it is overdue");
        drop((short, long));
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_shorter_limit_brings_the_sweep_forward() {
        let sessions = Sessions::default();
        let entry = sessions.enter(LIMIT * 100);
        let before = sessions.next_sweep.get();
        entry.limit(LIMIT, CloseReason::HalfCloseTimeout);
        assert!(sessions.next_sweep.get() < before);
        sessions.sweep_once(Tick::now().after(LIMIT * 2));
        assert_eq!(order_of(&entry), Some(CloseReason::HalfCloseTimeout));
    }

    #[test]
    fn a_silent_session_looks_once_and_again_after_the_next_progress() {
        let sessions = Sessions::default();
        let entry = sessions.enter(SILENCE * 100);
        let now = Tick::now();
        sessions.sweep_once(now.after(SILENCE / 2));
        assert!(!entry.is_to_look(), "not silent for long");
        sessions.sweep_once(now.after(SILENCE * 2));
        assert!(entry.is_to_look());
        sessions.sweep_once(now.after(SILENCE * 4));
        assert!(!entry.is_to_look(), "once is enough while nothing moves");
        entry.progressed();
        sessions.sweep_once(now.after(SILENCE * 6));
        assert!(entry.is_to_look());
    }

    #[test]
    fn a_cut_ends_the_sessions_connected_before_it() {
        let key = BackendKey { pool: "pool".into(), backend: "backend".into() };
        let backend = Arc::new(BackendState::new(key, 1, Status::Up));
        let sessions = Sessions::default();
        let before = sessions.enter(LIMIT);
        before.connected_to(&backend);
        backend.cut();
        let after = sessions.enter(LIMIT);
        after.connected_to(&backend);
        sessions.end_cut();
        assert_eq!(order_of(&before), Some(CloseReason::BackendDown));
        assert_eq!(order_of(&after), None);
    }

    #[test]
    fn the_first_order_stands() {
        let sessions = Sessions::default();
        let entry = sessions.enter(LIMIT);
        sessions.end_all(CloseReason::BackendDown);
        sessions.end_all(CloseReason::Shutdown);
        assert_eq!(order_of(&entry), Some(CloseReason::BackendDown));
    }
}
