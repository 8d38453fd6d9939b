//! The task behind an address: when its turns are.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};

use super::flow::Rules;
use super::lifecycle::Lifecycle;
use super::{Forwarder, burst};
use crate::metrics::reason::FlowCloseReason;
use crate::sys::clock::Tick;

/// Flows that end by the clock are looked for no more often: the precision of `flow_idle_timeout`.
const SWEEP_SPACING: Duration = Duration::from_millis(50);

/// What there was when the last turn was over.
#[derive(Debug, Default)]
struct LastTurn {
    /// What the worker had done by then.
    activity: u32,
    /// Whether something was left to be done.
    has_more: bool,
}

impl Forwarder {
    /// Serves until it is told to end, or the sender is gone, and that has been done.
    ///
    /// Whenever it is told something, also what it was told before, it looks at the configuration.
    pub async fn run(mut self, mut told: watch::Receiver<Lifecycle>) {
        let mut timer = pin!(sleep(Duration::ZERO));
        let mut armed = None;
        let mut last_turn = LastTurn::default();
        while !self.is_over() {
            self.arm(&mut armed, timer.as_mut());
            tokio::select! {
                biased;
                next = self.lifecycle.next(&mut told) => self.enter(next),
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.is_due = true;
                }
                () = poll_fn(|cx| self.poll_ready(cx)) => {
                    self.wait_for_burst(&last_turn);
                    last_turn = self.serve();
                    if last_turn.has_more {
                        self.let_others_run().await;
                    }
                }
            }
        }
        self.flows.end_all(FlowCloseReason::ListenerGone);
    }

    fn is_over(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Serving | Lifecycle::Draining => false,
            Lifecycle::Retiring { ends_at } => {
                let has_nothing_left = self.flows.table.is_empty() && !self.clients.is_readable();
                has_nothing_left || Tick::now() >= ends_at
            }
            Lifecycle::Ended => true,
        }
    }

    /// Whether something can be done without waiting for an event.
    fn has_more(&self) -> bool {
        self.clients.is_readable() || self.is_due || self.backends.has_ready()
    }

    /// Ready when something has come, from either side.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.clients.poll_readable(cx);
        let from_backends = self.backends.poll_ready(cx).is_ready();
        if from_backends || self.has_more() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits for the rest of what has begun to come, if no other task of this worker has anything to do. See [`burst`].
    fn wait_for_burst(&self, last_turn: &LastTurn) {
        let is_idle = !last_turn.has_more && last_turn.activity == self.local.activity.count();
        let expects_burst = self.clients.expects_burst() || self.backends.expects_burst();
        if is_idle && expects_burst && !self.local.is_busy_polling() {
            std::thread::sleep(burst::WAIT);
        }
    }

    /// One turn for each side. A panic in it costs the flows of this address on this worker, and nothing else.
    fn serve(&mut self) -> LastTurn {
        self.local.activity.note();
        let activity = self.local.activity.count();
        if catch_unwind(AssertUnwindSafe(|| self.take_turn())).is_err() {
            self.start_over();
        }
        LastTurn { activity, has_more: self.has_more() }
    }

    /// Goes on without what a panic may have left half done.
    fn start_over(&mut self) {
        self.local.registry.workers.at(self.local.id).panics.add(1);
        self.buffers.borrow_mut().clear();
        self.backends.clear();
        let rules = self.settings.as_ref().map_or(Rules::NONE, |settings| settings.rules(self.lifecycle));
        let flows = self.flows.start_over(rules);
        if let Some(settings) = &self.settings {
            settings.count_panicked(flows);
        }
    }

    /// Lets the other tasks of the worker have a turn, and now and then the runtime look for events.
    async fn let_others_run(&self) {
        let mut has_waited = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                return Poll::Ready(());
            }
            self.local.yield_turn(cx);
            Poll::Pending
        })
        .await;
    }

    /// Sets the timer to when something is due next, unless it goes off before that anyway.
    fn arm(&self, armed: &mut Option<Tick>, timer: Pin<&mut Sleep>) {
        let flows = self.flows.table.deadline().map(Tick::from_millis);
        let deadlines = [flows, self.backends.deadline(), self.lifecycle.ends_at()];
        let Some(due) = deadlines.into_iter().flatten().min() else { return };
        let now = Tick::now();
        let due = due.max(now.after(SWEEP_SPACING));
        if armed.is_none_or(|armed| due < armed) {
            timer.reset(Instant::now() + due.since(now));
            *armed = Some(due);
        }
    }
}
