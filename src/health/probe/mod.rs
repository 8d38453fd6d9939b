//! One backend's probes, one after another, and what becomes of the datagrams of clients meanwhile.

mod dns;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::pace::jittered;
use super::traffic::{Ejections, Passive};
use super::verdict::{Judge, ProbeResult, Transition};
use super::{Evidence, Verdict};
use crate::config::{HealthCheck, PassiveCheck, Probe};
use crate::control::Event;
use crate::hash;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::Health;

/// One backend's probes.
#[derive(Debug)]
pub(super) struct Probing {
    pub(super) task: u64,
    pub(super) state: Arc<BackendState>,
    pub(super) endpoint: Endpoint,
    pub(super) check: HealthCheck,
    pub(super) passive: Option<PassiveCheck>,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) events: mpsc::Sender<Event>,
}

/// What has been found out about the backend.
#[derive(Debug)]
struct Findings {
    judge: Judge,
    passive: Passive,
    observe_at: Instant,
    ejections: Ejections,
    /// Until when a probe that passes means nothing.
    held_until: Instant,
}

impl Probing {
    /// Probes until it is aborted. The first probe is made at once.
    pub(super) async fn run(self) {
        let seed = self.state.hash_key();
        let mut due = Instant::now();
        let mut findings = Findings {
            judge: Judge::new(self.state.health()),
            passive: Passive::new(self.state.counted()),
            observe_at: due,
            ejections: Ejections::default(),
            held_until: due,
        };
        for turn in 0_u64.. {
            if self.observe_until(sleep_until(due), &mut findings).await.is_err() {
                return;
            }
            let attempt = async {
                // Closed only when the control task is gone.
                let _permit = self.in_flight.acquire().await.ok()?;
                Some(probe(&self.endpoint, &self.check).await)
            };
            let Ok(Some(result)) = self.observe_until(attempt, &mut findings).await else { return };
            if self.report(&mut findings, result).await.is_err() {
                return;
            }
            let random = hash::hash(&turn.to_le_bytes(), seed);
            due = (due + jittered(findings.judge.next_probe_after(&self.check), random)).max(Instant::now());
        }
    }

    /// Waits for something, and looks at the datagrams of clients meanwhile.
    async fn observe_until<T>(
        &self,
        awaited: impl Future<Output = T>,
        findings: &mut Findings,
    ) -> Result<T, SendError<Event>> {
        let Some(check) = &self.passive else { return Ok(awaited.await) };
        let mut awaited = pin!(awaited);
        loop {
            tokio::select! {
                biased;
                outcome = &mut awaited => return Ok(outcome),
                () = sleep_until(findings.observe_at) => self.observe(findings, check).await?,
            }
        }
    }

    /// Takes the backend down at once if its clients get no answer: that is the word of more than one of them, while a
    /// probe may ask something else.
    async fn observe(&self, findings: &mut Findings, check: &PassiveCheck) -> Result<(), SendError<Event>> {
        let now = Instant::now();
        findings.observe_at = now + Passive::observe_every(check);
        if !findings.passive.observe(self.state.counted(), now.into_std(), check) {
            return Ok(());
        }
        // One that is down already serves those who stay with it, and has been judged.
        let Some(transition) = findings.judge.condemn() else { return Ok(()) };
        findings.held_until = now + findings.ejections.hold(now.into_std(), check);
        let reason = Some("datagrams of clients stay unanswered".to_owned());
        self.say(transition, reason, Evidence::Passive).await
    }

    /// Counts a result, and says so when it changes the verdict.
    async fn report(&self, findings: &mut Findings, result: io::Result<()>) -> Result<(), SendError<Event>> {
        let (result, counter, reason) = match result {
            Ok(()) => (ProbeResult::Passed, &self.state.probes.passed, None),
            Err(error) => (ProbeResult::Failed, &self.state.probes.failed, Some(error.to_string())),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if result == ProbeResult::Passed && Instant::now() < findings.held_until {
            return Ok(());
        }
        let judge = &mut findings.judge;
        let transition = judge.record(result, &self.check).or_else(|| {
            // Clients had it condemned, and it stayed for the sake of its pool.
            let is_overdue = result == ProbeResult::Failed && judge.health() == Health::Down;
            let from = self.state.health();
            (is_overdue && from != Health::Down).then_some(Transition { from, to: Health::Down })
        });
        match transition {
            Some(transition) => self.say(transition, reason, Evidence::Probe).await,
            None => Ok(()),
        }
    }

    async fn say(
        &self,
        transition: Transition,
        reason: Option<String>,
        evidence: Evidence,
    ) -> Result<(), SendError<Event>> {
        let verdict = Verdict { key: self.state.key.clone(), task: self.task, transition, reason, evidence };
        self.events.send(Event::Probed(verdict)).await
    }
}

/// One probe of `endpoint`, which passes or says what is wrong.
async fn probe(endpoint: &Endpoint, check: &HealthCheck) -> io::Result<()> {
    let endpoint = match (endpoint, check.port) {
        (Endpoint::Inet(addr), Some(port)) => &Endpoint::Inet(SocketAddr::new(addr.ip(), port.get())),
        (endpoint, _) => endpoint,
    };
    match (&check.probe, endpoint) {
        (Probe::Udp(probe), Endpoint::Inet(addr)) => timeout(check.timeout, udp::exchange(*addr, probe)).await?,
        (Probe::Dns(probe), Endpoint::Inet(addr)) => timeout(check.timeout, dns::ask(*addr, probe)).await?,
        (Probe::Tcp, _) | (_, Endpoint::Unix(_)) => tcp::connect(endpoint, check.timeout).await,
    }
}
