//! The verdicts on the backends of one pool: results in, changes out. Pure: the clock, the counters and the sockets are
//! elsewhere.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Instant;

use super::pace::jittered;
use super::traffic::{Ejections, Traffic, has_room};
use super::verdict::{Ejected, ProbeResult, Room, Transition, Verdict};
use crate::config::{BackendName, HealthCheck, PassiveCheck, Pool};
use crate::hash;
use crate::pool::backend::Counted;
use crate::pool::health::Health;

/// By what the backends of a pool are judged.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Checks {
    /// By probes, and by clients' traffic as well if so configured: either takes a backend down, and probes bring it back.
    Probes(HealthCheck, Option<PassiveCheck>),
    /// By clients' traffic alone: what fails is out for a time.
    Traffic(PassiveCheck),
}

impl Checks {
    /// `None` for a pool without checks.
    pub(super) fn of(pool: &Pool) -> Option<Self> {
        match (&pool.health_check, pool.passive_check) {
            (Some(probes), traffic) => Some(Self::Probes(probes.clone(), traffic)),
            (None, Some(traffic)) => Some(Self::Traffic(traffic)),
            (None, None) => None,
        }
    }

    /// How backends are probed, if they are.
    pub(super) fn probes(&self) -> Option<&HealthCheck> {
        match self {
            Self::Probes(check, _) => Some(check),
            Self::Traffic(_) => None,
        }
    }

    /// How clients' traffic is judged, if it is.
    pub(super) fn traffic(&self) -> Option<&PassiveCheck> {
        match self {
            Self::Probes(_, check) => check.as_ref(),
            Self::Traffic(check) => Some(check),
        }
    }
}

/// What follows from a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The health of the backend has changed; what it went down for, if it did.
    Changed(Transition, Option<Cow<'static, str>>),
    /// Its clients say that the backend has failed, and it stays: too many of its pool are out.
    NoRoom,
}

/// The verdicts on the backends of one pool.
#[derive(Debug)]
pub(super) struct Verdicts {
    checks: Checks,
    /// Backends of the pool, those included that are not judged.
    pool_size: usize,
    records: HashMap<BackendName, Record>,
    /// How many of them are down.
    down: usize,
}

/// What is known of one backend.
#[derive(Debug)]
struct Record {
    verdict: Verdict,
    traffic: Traffic,
    ejections: Ejections,
    /// Where probes judge: until when one that passes means nothing. Where traffic alone does: until when the backend is
    /// out, and not looked at.
    held_until: Option<Instant>,
    /// When a probe last told whether the backend serves.
    known_at: Option<Instant>,
    /// What is left to chance comes from this and from how often it was asked for.
    seed: u64,
    drawn: u64,
}

impl Verdicts {
    /// Without backends yet.
    pub(super) fn new(checks: Checks) -> Self {
        Self { checks, pool_size: 0, records: HashMap::new(), down: 0 }
    }

    /// By what is judged.
    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Judges by these checks from now on, in a pool of this size. The evidence so far is held against the new thresholds,
    /// unless it is of another kind.
    pub(super) fn judge_by(&mut self, checks: Checks, pool_size: usize, now: Instant) {
        self.pool_size = pool_size;
        let is_other_kind = self.checks.probes().is_some() != checks.probes().is_some();
        self.checks = checks;
        for record in self.records.values_mut().filter(|_| is_other_kind) {
            record.verdict = Verdict::new(record.verdict.health());
            record.held_until = None;
            record.eject_if_down(&self.checks, now);
        }
    }

    /// Judges one more backend, which begins with this health. What was counted before says nothing about it.
    pub(super) fn begin(&mut self, name: &BackendName, health: Health, counted: Counted, seed: u64, now: Instant) {
        self.forget(name);
        let mut record = Record {
            verdict: Verdict::new(health),
            traffic: Traffic::new(counted),
            ejections: Ejections::default(),
            held_until: None,
            known_at: None,
            seed,
            drawn: 0,
        };
        record.eject_if_down(&self.checks, now);
        self.down += usize::from(health == Health::Down);
        self.records.insert(name.clone(), record);
    }

    /// Judges a backend no more.
    pub(super) fn forget(&mut self, name: &BackendName) {
        if self.records.remove(name).is_some_and(|record| record.verdict.health() == Health::Down) {
            self.down -= 1;
        }
    }

    /// The health of a backend that is judged.
    pub(super) fn health(&self, name: &BackendName) -> Option<Health> {
        self.records.get(name).map(|record| record.verdict.health())
    }

    /// When a probe last told whether the backend serves.
    pub(super) fn known_at(&self, name: &BackendName) -> Option<Instant> {
        self.records.get(name)?.known_at
    }

    /// Takes the result of a probe into account.
    pub(super) fn probed(&mut self, name: &BackendName, result: &ProbeResult, now: Instant) -> Option<Ruling> {
        let check = self.checks.probes()?;
        let record = self.records.get_mut(name)?;
        let reason = match result {
            ProbeResult::Inconclusive(_) => return None,
            ProbeResult::Failed(reason) => Some(reason.clone().into()),
            ProbeResult::Passed => None,
        };
        record.known_at = Some(now);
        if *result == ProbeResult::Passed && record.held_until.is_some_and(|until| now < until) {
            return None;
        }
        let transition = record.verdict.record(result, check)?;
        Some(self.changed(transition, reason))
    }

    /// When to probe a backend again whose last probe was due at `due`.
    pub(super) fn next_probe(&mut self, name: &BackendName, due: Instant, now: Instant) -> Option<Instant> {
        let check = self.checks.probes()?;
        let record = self.records.get_mut(name)?;
        let interval = record.verdict.next_probe_after(check);
        Some((due + jittered(interval, record.draw())).max(now))
    }

    /// Takes what is counted of a backend into account; to be called every [`Traffic::observe_every`].
    pub(super) fn observed(&mut self, name: &BackendName, counted: Counted, now: Instant) -> Option<Ruling> {
        let check = self.checks.traffic()?;
        let record = self.records.get_mut(name)?;
        if let (Checks::Traffic(_), Some(until)) = (&self.checks, record.held_until) {
            if now < until {
                return None;
            }
            record.held_until = None;
            record.traffic = Traffic::new(counted);
            let transition = record.verdict.readmit()?;
            return Some(self.changed(transition, None));
        }
        if !record.traffic.observe(counted, now, check) {
            return None;
        }
        let room = if has_room(self.down, self.pool_size, check) { Room::Left } else { Room::Full };
        // At once, whatever probes say: this is the word of more than one client, while a probe may ask something else.
        let ejected = record.verdict.eject(room);
        if ejected != Ejected::Already {
            record.hold(&self.checks, now);
        }
        match ejected {
            Ejected::Down(transition) => {
                Some(self.changed(transition, Some("datagrams of clients stay unanswered".into())))
            }
            Ejected::NoRoom => Some(Ruling::NoRoom),
            Ejected::Already => None,
        }
    }

    fn changed(&mut self, transition: Transition, reason: Option<Cow<'static, str>>) -> Ruling {
        self.down += usize::from(transition.to == Health::Down);
        self.down -= usize::from(transition.from == Health::Down);
        Ruling::Changed(transition, reason)
    }
}

impl Record {
    /// Nothing but the end of an ejection would bring up what is judged by traffic alone.
    fn eject_if_down(&mut self, checks: &Checks, now: Instant) {
        if checks.probes().is_none() && self.verdict.health() == Health::Down {
            self.hold(checks, now);
        }
    }

    /// Begins the time during which an ejected backend is out, or during which probes cannot bring it back.
    fn hold(&mut self, checks: &Checks, now: Instant) {
        let span = match checks {
            Checks::Traffic(check) => jittered(self.ejections.eject(now, check), self.draw()),
            Checks::Probes(_, Some(check)) => self.ejections.hold(now, check),
            Checks::Probes(_, None) => return,
        };
        self.held_until = now.checked_add(span);
    }

    fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        hash::hash(&self.drawn.to_le_bytes(), self.seed)
    }
}

#[cfg(test)]
mod tests;
