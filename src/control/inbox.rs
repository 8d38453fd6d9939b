//! What comes in: everything that the control task reacts to.

use tokio::sync::mpsc;

use super::reload::Read;
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
    Read(Box<Read>),
    /// The health of backends has changed: all changes that have come in, at once.
    Health(Vec<Change>),
    /// A name was looked up.
    Resolved(Answer),
}

/// Events of this process's own not yet handled. There are few at one time: a read that has ended, whoever wants an end.
pub const EVENT_QUEUE: usize = 64;

/// Changes of health that are handled together.
const CHANGES_AT_ONCE: usize = 1_024;

/// Where everything comes in.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) signals: Option<Signals>,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) changes: mpsc::Receiver<Change>,
    pub(super) answers: mpsc::Receiver<Answer>,
}

impl Inbox {
    /// The next event. Signals come first. Nothing is lost when this is cancelled.
    ///
    /// # Panics
    /// When the monitor or the resolver has panicked: without them the process would only seem to work.
    pub(super) async fn next(&mut self) -> Event {
        let mut changes = Vec::new();
        tokio::select! {
            biased;
            signal = next_signal(self.signals.as_mut()) => Event::Signal(signal),
            Some(event) = self.events.recv() => event,
            count = self.changes.recv_many(&mut changes, CHANGES_AT_ONCE) => {
                assert!(count > 0, "the health of backends is watched no more");
                Event::Health(changes)
            }
            answer = self.answers.recv() => Event::Resolved(answer.expect("the resolver lives as long as we do")),
        }
    }
}

async fn next_signal(signals: Option<&mut Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}
