//! The verdict on one backend, by consecutive results of its probes and by the word of its clients: pure, the clock and
//! the sockets are elsewhere.

use std::time::Duration;

use crate::config::HealthCheck;
use crate::pool::health::Health;

/// How one probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// The backend answered in time, and as it should.
    Passed,
    /// It refused, answered what it should not, or did not answer in time: which of these.
    Failed(String),
    /// We lacked something ourselves, which says nothing of the backend: what that was.
    Inconclusive(String),
}

/// A change of health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    /// Before.
    pub(super) from: Health,
    /// From now on.
    pub(super) to: Health,
}

/// Whether the pool can do without one more of its backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It can.
    Left,
    /// Too many are out already.
    Full,
}

/// What became of a backend that its clients say has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ejected {
    /// It is down from now on.
    Down(Transition),
    /// It is suspect, and stays for the sake of its pool.
    NoRoom,
    /// It was down, or suspect, before.
    Already,
}

/// The verdict on one backend and the evidence against it.
///
/// ```text
///                    Checking
///            passed /        \ failed
///                  v          v          one result decides
///                 Up -------> Down
///                 ^  `fall` failed in a row, or ejected
///                 |            |
///                 +------------+
///                   `rise` passed in a row
/// ```
///
/// A result that agrees with the verdict clears the evidence, so a backend that alternates keeps its health for ever. One
/// that is suspect is judged as if it were down: `rise` passed in a row clear it, and one that failed takes it down. An
/// inconclusive result is none. The thresholds are arguments: a change of them leaves verdict and evidence as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    health: Health,
    /// Results in a row that contradict the verdict, the last one included.
    contradicting: u16,
    /// Its clients say that it has failed, and its pool had no room to eject it.
    is_suspect: bool,
}

impl Verdict {
    /// A verdict without evidence against it.
    pub(super) fn new(health: Health) -> Self {
        Self { health, contradicting: 0, is_suspect: false }
    }

    /// What it says.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Takes one result into account; the transition it causes, if any.
    pub(super) fn record(&mut self, result: &ProbeResult, check: &HealthCheck) -> Option<Transition> {
        let is_in_doubt = self.is_suspect || self.health == Health::Down;
        let (to, threshold) = match (self.health, result) {
            (_, ProbeResult::Inconclusive(_)) => return None,
            (_, ProbeResult::Passed) if is_in_doubt => (Health::Up, check.rise.get()),
            (_, ProbeResult::Failed(_)) if self.is_suspect => (Health::Down, 1),
            (Health::Checking, ProbeResult::Passed) => (Health::Up, 1),
            (Health::Checking, ProbeResult::Failed(_)) => (Health::Down, 1),
            (Health::Up, ProbeResult::Failed(_)) => (Health::Down, check.fall.get()),
            (Health::Up | Health::Down, ProbeResult::Passed | ProbeResult::Failed(_)) => {
                self.contradicting = 0;
                return None;
            }
        };
        self.contradicting += 1;
        if self.contradicting < threshold { None } else { self.become_certain(to) }
    }

    /// Takes the backend down, whatever its probes say, if its pool has room for that. The first probe that passes
    /// afterwards is the first of `rise`.
    pub(super) fn eject(&mut self, room: Room) -> Ejected {
        self.contradicting = 0;
        if self.is_suspect || self.health == Health::Down {
            return Ejected::Already;
        }
        if room == Room::Full {
            self.is_suspect = true;
            return Ejected::NoRoom;
        }
        let from = std::mem::replace(&mut self.health, Health::Down);
        Ejected::Down(Transition { from, to: Health::Down })
    }

    /// Brings the backend up, whatever was held against it; the transition that this causes, if any.
    pub(super) fn readmit(&mut self) -> Option<Transition> {
        self.become_certain(Health::Up)
    }

    fn become_certain(&mut self, to: Health) -> Option<Transition> {
        let from = self.health;
        *self = Self::new(to);
        (from != to).then_some(Transition { from, to })
    }

    /// From the start of a probe to the start of the next, before [`jittered`](super::pace::jittered): half the interval
    /// while there is evidence against the verdict, so that it is confirmed or cleared in about half the time.
    pub(super) fn next_probe_after(&self, check: &HealthCheck) -> Duration {
        if self.contradicting > 0 { check.interval / 2 } else { check.interval }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use Health::{Checking, Down, Up};

    use super::*;
    use crate::config::Probe;

    fn check(rise: u16, fall: u16) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            port: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: NonZeroU16::new(rise).expect("not 0"),
            fall: NonZeroU16::new(fall).expect("not 0"),
        }
    }

    /// P passed, F failed, anything else was inconclusive.
    fn result(letter: char) -> ProbeResult {
        match letter {
            'P' => ProbeResult::Passed,
            'F' => ProbeResult::Failed("refused".into()),
            _ => ProbeResult::Inconclusive("no descriptors".into()),
        }
    }

    /// The health after each of `results`.
    fn healths(verdict: &mut Verdict, check: &HealthCheck, results: &str) -> Vec<Health> {
        let record = |letter| {
            let from = verdict.health();
            let transition = verdict.record(&result(letter), check);
            let to = verdict.health();
            assert_eq!(transition, (from != to).then_some(Transition { from, to }));
            to
        };
        results.chars().map(record).collect()
    }

    #[test]
    fn the_first_result_decides() {
        for (letter, to) in [('P', Up), ('F', Down)] {
            let mut verdict = Verdict::new(Checking);
            assert_eq!(verdict.record(&result(letter), &check(9, 9)), Some(Transition { from: Checking, to }));
        }
    }

    #[test]
    fn falls_and_rises_after_that_many_in_a_row() {
        let mut verdict = Verdict::new(Up);
        assert_eq!(healths(&mut verdict, &check(2, 3), "FFFFPPP"), [Up, Up, Down, Down, Down, Up, Up]);
    }

    #[test]
    fn a_threshold_of_one_follows_every_result() {
        assert_eq!(healths(&mut Verdict::new(Up), &check(1, 1), "FPF"), [Down, Up, Down]);
    }

    #[test]
    fn only_results_in_a_row_count() {
        let seen = healths(&mut Verdict::new(Up), &check(2, 3), &"FFP".repeat(100));
        assert!(seen.iter().all(|health| *health == Up));
    }

    #[test]
    fn alternating_results_change_nothing() {
        for health in [Up, Down] {
            for results in ["PF", "FP"] {
                let seen = healths(&mut Verdict::new(health), &check(2, 3), &results.repeat(1_000));
                assert!(seen.iter().all(|seen| *seen == health), "from {health:?} with {results}");
            }
        }
    }

    #[test]
    fn what_we_lack_says_nothing_and_hides_nothing() {
        for from in [Checking, Up, Down] {
            let seen = healths(&mut Verdict::new(from), &check(1, 1), &"?".repeat(100));
            assert!(seen.iter().all(|seen| *seen == from));
        }
        assert_eq!(healths(&mut Verdict::new(Up), &check(2, 3), "F?F?F"), [Up, Up, Up, Up, Down]);
    }

    #[test]
    fn an_ejected_backend_is_down_at_once_and_takes_all_of_rise() {
        for from in [Checking, Up] {
            let mut verdict = Verdict::new(from);
            assert_eq!(verdict.eject(Room::Left), Ejected::Down(Transition { from, to: Down }));
            assert_eq!(healths(&mut verdict, &check(2, 3), "P"), [Down]);
            assert_eq!(verdict.eject(Room::Left), Ejected::Already);
            assert_eq!(healths(&mut verdict, &check(2, 3), "PPF"), [Down, Up, Up]);
        }
    }

    #[test]
    fn a_suspect_stays_until_a_probe_fails_or_enough_have_passed() {
        for from in [Checking, Up] {
            let suspect = || {
                let mut verdict = Verdict::new(from);
                assert_eq!(verdict.eject(Room::Full), Ejected::NoRoom);
                assert_eq!(verdict.eject(Room::Left), Ejected::Already, "once is enough");
                verdict
            };
            assert_eq!(healths(&mut suspect(), &check(2, 3), "PF"), [from, Down]);
            assert_eq!(healths(&mut suspect(), &check(2, 3), "PPFFF"), [from, Up, Up, Up, Down]);
            assert_eq!(suspect().readmit(), (from != Up).then_some(Transition { from, to: Up }));
        }
    }

    #[test]
    fn other_thresholds_leave_verdict_and_evidence() {
        let mut verdict = Verdict::new(Up);
        assert_eq!(healths(&mut verdict, &check(2, 10), "FF"), [Up, Up]);
        assert_eq!(healths(&mut verdict, &check(2, 2), "F"), [Down]);
    }

    #[test]
    fn probes_come_faster_while_there_is_doubt() {
        let check = check(2, 3);
        let (slow, fast) = (check.interval, check.interval / 2);
        let mut verdict = Verdict::new(Checking);
        let mut waits = vec![verdict.next_probe_after(&check)];
        for letter in "PFFPFFFFPP".chars() {
            verdict.record(&result(letter), &check);
            waits.push(verdict.next_probe_after(&check));
        }
        assert_eq!(waits, [slow, slow, fast, fast, slow, fast, fast, slow, slow, fast, slow]);
    }
}
