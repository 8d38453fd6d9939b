//! Asking the system's resolver what names stand for.
//!
//! Every name is asked for once whenever the names are given, and one that has no answer again and again, ever less
//! often. A resolver that hangs keeps a thread for as long as it does; so each name has at most one question under way,
//! and there is a bound on all together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use super::name::HostName;
use crate::sys::clock::Tick;
use crate::sys::log_limit::LogLimit;

/// A resolver that is silent for this long has failed: one try of the system's resolver, by its default. Should it answer
/// later, that is heard as well.
const LIMIT: Duration = Duration::from_secs(5);

/// Questions under way, each on a thread of its own.
const MAX_LOOKUPS: usize = 64;

/// From one question without an answer to the next: at first, and at most. It doubles each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Answers that were not taken yet; the resolver waits when there are more.
const ANSWER_QUEUE: usize = 1_024;

/// What the resolver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was asked for.
    pub name: HostName,
    /// What it stands for. Empty if it stands for nothing, or the resolver has failed.
    pub addrs: Vec<SocketAddr>,
}

/// Resolves names until it is dropped.
#[derive(Debug)]
pub struct Resolver {
    names: watch::Sender<BTreeSet<HostName>>,
}

impl Resolver {
    /// Starts a resolver on the current runtime, which asks for nothing yet. Every answer comes out of the receiver.
    pub fn start() -> (Self, mpsc::Receiver<Answer>) {
        let (names, wanted) = watch::channel(BTreeSet::new());
        let (sender, answers) = mpsc::channel(ANSWER_QUEUE);
        tokio::spawn(Task::new(wanted, sender).run());
        (Self { names }, answers)
    }

    /// Asks for all of these names now, and for no others any more.
    pub fn look_up(&self, names: BTreeSet<HostName>) {
        self.names.send_replace(names);
    }
}

/// The task that asks.
#[derive(Debug)]
struct Task {
    wanted: watch::Receiver<BTreeSet<HostName>>,
    answers: mpsc::Sender<Answer>,
    names: BTreeMap<HostName, Lookup>,
    /// When to ask next for those that are not being asked for.
    due: BTreeSet<(Instant, HostName)>,
    lookups: JoinSet<(HostName, bool)>,
    slots: Arc<Semaphore>,
    complaints: Arc<LogLimit>,
}

/// How far it is with one name.
#[derive(Debug, Default)]
struct Lookup {
    is_under_way: bool,
    /// Answers in a row that there were not.
    failures: u32,
}

impl Task {
    fn new(wanted: watch::Receiver<BTreeSet<HostName>>, answers: mpsc::Sender<Answer>) -> Self {
        Self {
            wanted,
            answers,
            names: BTreeMap::new(),
            due: BTreeSet::new(),
            lookups: JoinSet::new(),
            slots: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            complaints: Arc::default(),
        }
    }

    /// Runs until the receiver of answers is gone.
    async fn run(mut self) {
        loop {
            self.start_due();
            let next = self.due.first().map(|(at, _)| *at);
            tokio::select! {
                changed = self.wanted.changed() => match changed {
                    Ok(()) => self.follow(),
                    Err(_) => return,
                },
                Some(Ok((name, has_answer))) = self.lookups.join_next() => self.end(&name, has_answer),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Asks for what is wanted now.
    fn follow(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let now = Instant::now();
        self.names.retain(|name, lookup| lookup.is_under_way || wanted.contains(name));
        self.due = wanted
            .into_iter()
            .filter(|name| !self.names.entry(name.clone()).or_default().is_under_way)
            .map(|name| (now, name))
            .collect();
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while let Some((at, name)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, name));
                return;
            }
            self.names.entry(name.clone()).or_default().is_under_way = true;
            let (answers, slots) = (self.answers.clone(), Arc::clone(&self.slots));
            let complaints = Arc::clone(&self.complaints);
            self.lookups.spawn(async move {
                let has_answer = look_up(&name, slots, &answers, &complaints).await;
                (name, has_answer)
            });
        }
    }

    fn end(&mut self, name: &HostName, has_answer: bool) {
        let Some(lookup) = self.names.get_mut(name) else { return };
        lookup.is_under_way = false;
        if !self.wanted.borrow().contains(name) {
            self.names.remove(name);
        } else if has_answer {
            lookup.failures = 0;
        } else {
            let pause = pause_after(lookup.failures);
            lookup.failures = lookup.failures.saturating_add(1);
            self.due.insert((Instant::now() + pause, name.clone()));
        }
    }
}

/// How long to wait after one more failure.
fn pause_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures)).min(LAST_RETRY)
}

/// Asks once and says what is answered; whether that was an address. If it takes long, it is said meanwhile that there is no
/// answer.
async fn look_up(
    name: &HostName,
    slots: Arc<Semaphore>,
    answers: &mpsc::Sender<Answer>,
    complaints: &LogLimit,
) -> bool {
    let mut lookup = pin!(ask(name.clone(), slots));
    let answer = match timeout(LIMIT, &mut lookup).await {
        Ok(answer) => answer,
        Err(elapsed) => {
            report(name, Err(elapsed.into()), answers, complaints).await;
            lookup.await
        }
    };
    report(name, answer, answers, complaints).await
}

/// The slot is free when the thread is, whoever waits for it.
async fn ask(name: HostName, slots: Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
    let question = move || {
        let answer = (name.host.as_str(), name.port.get()).to_socket_addrs().map(Iterator::collect);
        drop(slot);
        answer
    };
    spawn_blocking(question).await.unwrap_or_else(|error| Err(error.into()))
}

/// Passes an answer on; whether there is an address in it.
async fn report(
    name: &HostName,
    answer: io::Result<Vec<SocketAddr>>,
    answers: &mpsc::Sender<Answer>,
    complaints: &LogLimit,
) -> bool {
    let addrs = answer.unwrap_or_else(|error| {
        if let Some(suppressed) = complaints.allow(Tick::now()) {
            tracing::warn!(%name, %error, suppressed, "a name does not resolve; it is asked for again");
        }
        Vec::new()
    });
    let has_answer = !addrs.is_empty();
    // Sending fails only when the receiver is gone.
    let _ = answers.send(Answer { name: name.clone(), addrs }).await;
    has_answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_an_answer_is_asked_for_ever_less_often() {
        let pauses = (0..9).map(|failures| pause_after(failures).as_secs());
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_after(u32::MAX), LAST_RETRY);
    }

    #[tokio::test]
    async fn an_answer_comes_each_time_that_a_name_is_asked_for() {
        let (resolver, mut answers) = Resolver::start();
        let name = |host: &str| HostName { host: host.into(), port: 80.try_into().expect("not 0") };
        for host in ["127.0.0.1", "127.0.0.2", "127.0.0.2"] {
            resolver.look_up(BTreeSet::from([name(host)]));
            let addrs = vec![format!("{host}:80").parse().expect("an address")];
            assert_eq!(answers.recv().await, Some(Answer { name: name(host), addrs }));
        }
    }
}
