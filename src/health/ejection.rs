//! Passive ejection of one backend: for pools without probes, which would bring it back.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::pace::jittered;
use super::traffic::{Ejections, Passive};
use super::verdict::Transition;
use super::{Evidence, Verdict};
use crate::config::PassiveCheck;
use crate::control::Event;
use crate::hash;
use crate::pool::backend::BackendState;
use crate::pool::health::Health;

/// One backend that is judged by its datagrams alone.
#[derive(Debug)]
pub(super) struct Ejecting {
    pub(super) task: u64,
    pub(super) state: Arc<BackendState>,
    pub(super) check: PassiveCheck,
    pub(super) events: mpsc::Sender<Event>,
}

impl Ejecting {
    /// Watches until it is aborted.
    pub(super) async fn run(self) {
        let Self { state, check, .. } = &self;
        let mut ejections = Ejections::default();
        // One that is down already was ejected before a reload changed the check; it gets its turn as others do.
        let mut has_failed = state.health() == Health::Down;
        for turn in 0_u64.. {
            if has_failed {
                let span = ejections.eject(Instant::now(), check);
                if self.report(Health::Up, Health::Down).await.is_err() {
                    return;
                }
                sleep(jittered(span, hash::hash(&turn.to_le_bytes(), state.hash_key()))).await;
                if self.report(Health::Down, Health::Up).await.is_err() {
                    return;
                }
            }
            let mut passive = Passive::new(state.counted());
            has_failed = false;
            while !has_failed {
                sleep(Passive::observe_every(check)).await;
                has_failed = passive.observe(state.counted(), Instant::now(), check);
            }
        }
    }

    async fn report(&self, from: Health, to: Health) -> Result<(), mpsc::error::SendError<Event>> {
        let reason = (to == Health::Down).then(|| "datagrams of clients stay unanswered".to_owned());
        let (key, transition) = (self.state.key.clone(), Transition { from, to });
        let verdict = Verdict { key, task: self.task, transition, reason, evidence: Evidence::Passive };
        self.events.send(Event::Probed(verdict)).await
    }
}
