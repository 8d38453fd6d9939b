//! One backend's probes, one after another.

mod dns;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::error::SendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Evidence, Verdict};
use crate::config::{HealthCheck, PassiveCheck, Probe};
use crate::control::Event;
use crate::hash;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::health::{Health, ProbeResult, jittered};
use crate::pool::passive::Passive;

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

impl Probing {
    /// Probes until it is aborted. The first probe is made at once.
    pub(super) async fn run(self) {
        let seed = self.state.hash_key();
        let mut health = Health::new(self.state.status());
        let mut passive = Passive::new(self.state.counted());
        let mut due = Instant::now();
        for turn in 0_u64.. {
            if self.wait(due, &mut passive, &mut health).await.is_err() {
                return;
            }
            let result = {
                // Closed only when the control task is gone.
                let Ok(_permit) = self.in_flight.acquire().await else { return };
                probe(&self.endpoint, &self.check).await
            };
            if self.report(&mut health, result).await.is_err() {
                return;
            }
            let random = hash::hash(&turn.to_le_bytes(), seed);
            due = (due + jittered(health.next_probe_after(&self.check), random)).max(Instant::now());
        }
    }

    /// Waits for the next probe. Meanwhile what becomes of the datagrams of clients counts like a failed one.
    async fn wait(&self, due: Instant, passive: &mut Passive, health: &mut Health) -> Result<(), SendError<Event>> {
        let Some(check) = &self.passive else {
            sleep_until(due).await;
            return Ok(());
        };
        loop {
            let now = Instant::now();
            if passive.observe(self.state.counted(), now.into_std(), check) {
                let reason = Some("datagrams of clients stay unanswered".to_owned());
                self.record(health, ProbeResult::Failed, reason, Evidence::Passive).await?;
            }
            if now >= due {
                return Ok(());
            }
            sleep_until(due.min(now + Passive::observe_every(check))).await;
        }
    }

    /// Counts a result, and says so when it changes the verdict.
    async fn report(&self, health: &mut Health, result: io::Result<()>) -> Result<(), SendError<Event>> {
        let (result, counter, reason) = match result {
            Ok(()) => (ProbeResult::Passed, &self.state.probes.passed, None),
            Err(error) => (ProbeResult::Failed, &self.state.probes.failed, Some(error.to_string())),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.record(health, result, reason, Evidence::Probe).await
    }

    async fn record(
        &self,
        health: &mut Health,
        result: ProbeResult,
        reason: Option<String>,
        evidence: Evidence,
    ) -> Result<(), SendError<Event>> {
        let Some(transition) = health.record(result, &self.check) else { return Ok(()) };
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
