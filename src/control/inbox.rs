//! What comes in: everything that the control task reacts to.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::reading::FileRead;
use super::signals::{Signal, Signals};
use crate::discovery::resolver::Answer;
use crate::health::Change;

/// Something that has happened.
#[derive(Debug)]
pub enum Event {
    /// The operator sent a signal.
    Signal(Signal),
    /// The program around us wants an orderly end.
    ShutDown,
    /// The file was read, as a reload had asked.
    Read(Box<FileRead>),
    /// The health of backends has changed: all changes that have come in, at once.
    Health(Vec<Change>),
    /// Names were looked up: all answers that have come in, at once.
    Resolved(Vec<Answer>),
}

/// Events of this process's own not yet handled. There are few at one time: a read that has ended, a request to stop.
pub const EVENT_QUEUE: usize = 64;

/// Changes of health that are handled together.
const CHANGES_AT_ONCE: usize = 16_384;

/// Answers of the resolver that are handled together.
const ANSWERS_AT_ONCE: usize = 1_024;

/// After changes of health were handled, the next ones wait for so many times as long as that took. A pool takes as long
/// to build for one backend as for all of them, and its first verdicts come one by one: they would keep us busy.
const REST: u32 = 4;

/// Where everything comes in.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) signals: Option<Signals>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) changes: mpsc::Receiver<Change>,
    pub(super) answers: mpsc::Receiver<Answer>,
    /// When changes of health are looked at again.
    pub(super) rested_at: Instant,
}

impl Inbox {
    /// Lets changes of health come together for a while, after it took so long to handle some.
    pub(super) fn rest(&mut self, took: Duration) {
        self.rested_at = Instant::now() + took * REST;
    }

    /// The next event. Signals come first. Nothing is lost when this is cancelled.
    ///
    /// # Panics
    /// When the monitor or the resolver has panicked: without them the process would only seem to work.
    pub(super) async fn next(&mut self) -> Event {
        let (mut changes, mut answers) = (Vec::new(), Vec::new());
        tokio::select! {
            biased;
            signal = next_signal(self.signals.as_mut()) => Event::Signal(signal),
            Some(event) = self.events.recv() => event,
            count = receive(&mut self.changes, &mut changes, self.rested_at) => {
                assert!(count > 0, "the health of backends is watched no more");
                Event::Health(changes)
            }
            count = self.answers.recv_many(&mut answers, ANSWERS_AT_ONCE) => {
                assert!(count > 0, "names are looked up no more");
                Event::Resolved(answers)
            }
        }
    }
}

/// Receives all changes that have come by `at`, or else the next one.
async fn receive(changes: &mut mpsc::Receiver<Change>, received: &mut Vec<Change>, at: Instant) -> usize {
    sleep_until(at).await;
    changes.recv_many(received, CHANGES_AT_ONCE).await
}

async fn next_signal(signals: Option<&mut Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}
