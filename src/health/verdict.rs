//! Judging a backend by consecutive probe results, and by the word of its clients: pure, the clock and the sockets are
//! elsewhere.

use std::time::Duration;

use crate::config::HealthCheck;
use crate::pool::health::Health;

/// How one probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeResult {
    /// The backend answered in time.
    Passed,
    /// It refused, or did not answer in time.
    Failed,
}

/// A change of health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    /// Before.
    pub(super) from: Health,
    /// From now on.
    pub(super) to: Health,
}

/// The verdict on one backend and the evidence against it.
///
/// ```text
///                    Checking
///            passed /        \ failed
///                  v          v          one result decides
///                 Up -------> Down
///                 ^  `fall` failed in a row, or condemned
///                 |            |
///                 +------------+
///                   `rise` passed in a row
/// ```
///
/// A result that agrees with the verdict clears the evidence, so a backend that alternates keeps its health for ever.
/// The thresholds are arguments: a change of them leaves the verdict as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judge {
    health: Health,
    /// Results in a row that contradict `health`, the last one included.
    contradicting: u16,
}

impl Judge {
    /// A verdict without evidence against it.
    pub(super) fn new(health: Health) -> Self {
        Self { health, contradicting: 0 }
    }

    /// The verdict.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Takes one result into account; the transition it causes, if any.
    pub(super) fn record(&mut self, result: ProbeResult, check: &HealthCheck) -> Option<Transition> {
        let (to, threshold) = match (self.health, result) {
            (Health::Checking, ProbeResult::Passed) => (Health::Up, 1),
            (Health::Checking, ProbeResult::Failed) => (Health::Down, 1),
            (Health::Down, ProbeResult::Passed) => (Health::Up, check.rise.get()),
            (Health::Up, ProbeResult::Failed) => (Health::Down, check.fall.get()),
            (Health::Up, ProbeResult::Passed) | (Health::Down, ProbeResult::Failed) => {
                self.contradicting = 0;
                return None;
            }
        };
        self.contradicting += 1;
        if self.contradicting < threshold {
            return None;
        }
        let from = self.health;
        *self = Self::new(to);
        Some(Transition { from, to })
    }

    /// Takes the backend down, whatever its probes say; the transition that this causes, if any. The first probe that
    /// passes afterwards is the first of `rise`.
    pub(super) fn condemn(&mut self) -> Option<Transition> {
        let from = self.health;
        *self = Self::new(Health::Down);
        (from != Health::Down).then_some(Transition { from, to: Health::Down })
    }

    /// From the start of a probe to the start of the next, before [`jittered`]: half the interval while there is
    /// evidence against the verdict, so that it is confirmed or cleared in about half the time.
    pub(super) fn next_probe_after(&self, check: &HealthCheck) -> Duration {
        if self.contradicting > 0 { check.interval / 2 } else { check.interval }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use Health::{Checking, Down, Up};

    use super::ProbeResult::{Failed, Passed};
    use super::*;
    use crate::config::Probe;

    fn check(rise: u16, fall: u16) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp,
            port: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: NonZeroU16::new(rise).unwrap(),
            fall: NonZeroU16::new(fall).unwrap(),
        }
    }

    /// The health after each of `results`.
    fn healths(judge: &mut Judge, check: &HealthCheck, results: &[ProbeResult]) -> Vec<Health> {
        let record = |result: &ProbeResult| {
            let from = judge.health();
            let transition = judge.record(*result, check);
            let to = judge.health();
            assert_eq!(transition, (from != to).then_some(Transition { from, to }));
            to
        };
        results.iter().map(record).collect()
    }

    #[test]
    fn the_first_result_decides() {
        for (result, health) in [(Passed, Up), (Failed, Down)] {
            let mut judge = Judge::new(Checking);
            assert_eq!(judge.record(result, &check(9, 9)), Some(Transition { from: Checking, to: health }));
        }
    }

    #[test]
    fn falls_and_rises_after_that_many_in_a_row() {
        let mut judge = Judge::new(Up);
        let results = [Failed, Failed, Failed, Failed, Passed, Passed, Passed];
        assert_eq!(healths(&mut judge, &check(2, 3), &results), [Up, Up, Down, Down, Down, Up, Up]);
    }

    #[test]
    fn a_threshold_of_one_follows_every_result() {
        let mut judge = Judge::new(Up);
        assert_eq!(healths(&mut judge, &check(1, 1), &[Failed, Passed, Failed]), [Down, Up, Down]);
    }

    #[test]
    fn only_results_in_a_row_count() {
        let mut judge = Judge::new(Up);
        let almost = [Failed, Failed, Passed].repeat(100);
        assert!(healths(&mut judge, &check(2, 3), &almost).iter().all(|health| *health == Up));
    }

    #[test]
    fn alternating_results_change_nothing() {
        for health in [Up, Down] {
            for results in [[Passed, Failed], [Failed, Passed]] {
                let seen = healths(&mut Judge::new(health), &check(2, 3), &results.repeat(1_000));
                assert!(seen.iter().all(|seen| *seen == health), "from {health:?} with {results:?}");
            }
        }
    }

    #[test]
    fn a_condemned_backend_is_down_at_once_and_takes_all_of_rise() {
        for from in [Checking, Up] {
            let mut judge = Judge::new(from);
            assert_eq!(judge.condemn(), Some(Transition { from, to: Down }));
            assert_eq!(healths(&mut judge, &check(2, 3), &[Passed]), [Down]);
            assert_eq!(judge.condemn(), None);
            assert_eq!(healths(&mut judge, &check(2, 3), &[Passed, Passed, Failed]), [Down, Up, Up]);
        }
    }

    #[test]
    fn a_reload_keeps_verdict_and_evidence() {
        let mut judge = Judge::new(Up);
        assert_eq!(healths(&mut judge, &check(2, 10), &[Failed, Failed]), [Up, Up]);
        assert_eq!(judge.record(Failed, &check(2, 2)), Some(Transition { from: Up, to: Down }));
        assert_eq!(judge.health(), Down);
    }

    #[test]
    fn probes_come_faster_while_there_is_doubt() {
        let check = check(2, 3);
        let (slow, fast) = (check.interval, check.interval / 2);
        let mut judge = Judge::new(Checking);
        let mut waits = vec![judge.next_probe_after(&check)];
        for result in [Passed, Failed, Failed, Passed, Failed, Failed, Failed, Failed, Passed, Passed] {
            judge.record(result, &check);
            waits.push(judge.next_probe_after(&check));
        }
        assert_eq!(waits, [slow, slow, fast, fast, slow, fast, fast, slow, slow, fast, slow]);
    }
}
