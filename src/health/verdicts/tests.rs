use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use Health::{Checking, Down, Up};

use super::*;
use crate::config::Probe;

const PROBES: HealthCheck = HealthCheck {
    probe: Probe::Tcp,
    port: None,
    interval: Duration::from_secs(2),
    timeout: Duration::from_secs(1),
    rise: NonZeroU16::new(2).expect("2 is not 0"),
    fall: NonZeroU16::new(3).expect("3 is not 0"),
};

const TRAFFIC: PassiveCheck = PassiveCheck {
    unanswered: NonZeroU32::new(5).expect("5 is not 0"),
    flows: NonZeroU32::new(3).expect("3 is not 0"),
    window: Duration::from_secs(10),
    eject_for: Duration::from_secs(10),
    eject_for_at_most: Duration::from_secs(60),
    max_ejected: 0.5,
};

/// A pool of backends that are called by letters, and the clock.
struct Pool {
    verdicts: Verdicts,
    now: Instant,
    /// What each has refused so far.
    refused: u64,
}

impl Pool {
    fn new(checks: Checks, backends: &str, health: Health) -> Self {
        let mut verdicts = Verdicts::new(checks.clone());
        let now = Instant::now();
        verdicts.judge_by(checks, backends.len(), now);
        for name in backends.chars() {
            verdicts.begin(&called(name), health, Counted::default(), u64::from(u32::from(name)), now);
        }
        Self { verdicts, now, refused: 0 }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Results as letters: P passed, F failed, anything else was inconclusive. Gives the health in the end.
    fn probe(&mut self, name: char, results: &str) -> Health {
        for letter in results.chars() {
            let result = match letter {
                'P' => ProbeResult::Passed,
                'F' => ProbeResult::Failed("refused".into()),
                _ => ProbeResult::Inconclusive("no descriptors".into()),
            };
            let before = self.health(name);
            let ruling = self.verdicts.probed(&called(name), &result, self.now);
            let after = self.health(name);
            let changed = (before != after).then_some(Transition { from: before, to: after });
            let reason = (after == Down).then(|| "refused".into());
            assert_eq!(ruling, changed.map(|transition| Ruling::Changed(transition, reason)));
        }
        self.health(name)
    }

    /// Clients of this one backend are refused, as often as it takes.
    fn refuse(&mut self, name: char) -> Option<Ruling> {
        self.refused += 1_000;
        let counted = Counted { refused: self.refused, ..Counted::default() };
        self.verdicts.observed(&called(name), counted, self.now)
    }

    /// Nothing happens to the clients of this backend.
    fn observe(&mut self, name: char) -> Health {
        let counted = Counted { refused: self.refused, ..Counted::default() };
        self.verdicts.observed(&called(name), counted, self.now);
        self.health(name)
    }

    fn health(&self, name: char) -> Health {
        self.verdicts.health(&called(name)).expect("it is judged")
    }
}

fn called(name: char) -> BackendName {
    name.to_string().as_str().into()
}

fn went_down(from: Health) -> Option<Ruling> {
    let reason = Some("datagrams of clients stay unanswered".into());
    Some(Ruling::Changed(Transition { from, to: Down }, reason))
}

#[test]
fn backends_are_judged_each_for_itself() {
    let mut pool = Pool::new(Checks::Probes(PROBES, None), "ab", Checking);
    assert_eq!((pool.probe('a', "P"), pool.health('b')), (Up, Checking));
    assert_eq!((pool.probe('b', "F"), pool.health('a')), (Down, Up));
    assert_eq!((pool.probe('a', "FF"), pool.probe('b', "P")), (Up, Down));
    assert_eq!((pool.probe('a', "F"), pool.probe('b', "P")), (Down, Up));
    assert_eq!(pool.verdicts.probed(&called('c'), &ProbeResult::Passed, pool.now), None, "nobody judges it");
}

#[test]
fn what_we_lack_changes_no_verdict() {
    let mut pool = Pool::new(Checks::Probes(PROBES, None), "a", Up);
    assert_eq!(pool.probe('a', "???F?F???"), Up);
    assert_eq!(pool.verdicts.known_at(&called('a')), Some(pool.now));
    pool.pass(5);
    let known_at = pool.verdicts.known_at(&called('a'));
    assert_eq!((pool.probe('a', "?"), pool.verdicts.known_at(&called('a'))), (Up, known_at));
    assert_eq!(pool.probe('a', "F"), Down);
}

#[test]
fn other_thresholds_hold_for_the_evidence_there_is() {
    let mut pool = Pool::new(Checks::Probes(PROBES, None), "a", Up);
    assert_eq!(pool.probe('a', "FF"), Up);
    let stricter = HealthCheck { fall: NonZeroU16::new(10).expect("not 0"), ..PROBES };
    pool.verdicts.judge_by(Checks::Probes(stricter, None), 1, pool.now);
    assert_eq!(pool.probe('a', "FFFFFFF"), Up);
    assert_eq!(pool.probe('a', "F"), Down);
}

#[test]
fn probes_bring_back_what_clients_took_down_and_later_ever_less_often() {
    let mut pool = Pool::new(Checks::Probes(PROBES, Some(TRAFFIC)), "ab", Up);
    assert_eq!(pool.refuse('a'), went_down(Up));
    assert_eq!(pool.probe('a', "PP"), Up, "the first time they have the last word");
    assert_eq!(pool.refuse('a'), went_down(Up));
    assert_eq!(pool.probe('a', "PPPPPP"), Down, "the second time they have it after `eject_for`");
    pool.pass(10);
    assert_eq!(pool.probe('a', "P"), Down);
    assert_eq!(pool.probe('a', "P"), Up);
}

#[test]
fn what_is_judged_by_traffic_alone_comes_back_by_itself() {
    let mut pool = Pool::new(Checks::Traffic(TRAFFIC), "ab", Up);
    for longest in [11, 22, 33] {
        assert_eq!(pool.refuse('a'), went_down(Up));
        pool.pass(longest * 8 / 11);
        assert_eq!((pool.observe('a'), pool.health('b')), (Down, Up), "within a tenth of the span");
        pool.pass(longest - longest * 8 / 11);
        assert_eq!(pool.observe('a'), Up);
        assert_eq!(pool.observe('a'), Up, "what was counted meanwhile is no evidence");
    }
}

#[test]
fn clients_take_down_no_more_of_a_pool_than_it_can_do_without() {
    let mut pool = Pool::new(Checks::Traffic(TRAFFIC), "abc", Up);
    assert_eq!(pool.refuse('a'), went_down(Up));
    assert_eq!(pool.refuse('b'), Some(Ruling::NoRoom));
    assert_eq!(pool.refuse('b'), None, "once is enough");
    pool.verdicts.forget(&called('a'));
    assert_eq!(pool.refuse('c'), went_down(Up), "one that is judged no more takes nobody's room");
}

#[test]
fn one_failed_probe_takes_down_a_suspect() {
    let mut pool = Pool::new(Checks::Probes(PROBES, Some(TRAFFIC)), "abc", Up);
    assert_eq!(pool.probe('a', "FFF"), Down);
    assert_eq!(pool.refuse('b'), Some(Ruling::NoRoom), "what probes took down counts as well");
    assert_eq!((pool.probe('b', "PF"), pool.probe('c', "F")), (Down, Up));
}

#[test]
fn what_is_down_comes_back_by_the_kind_of_check_that_there_is_now() {
    let mut pool = Pool::new(Checks::Probes(PROBES, None), "ab", Up);
    assert_eq!(pool.probe('a', "FFF"), Down);
    pool.verdicts.judge_by(Checks::Traffic(TRAFFIC), 2, pool.now);
    assert_eq!(pool.observe('a'), Down);
    pool.pass(11);
    assert_eq!(pool.observe('a'), Up);
    assert_eq!(pool.refuse('a'), went_down(Up));
    pool.verdicts.judge_by(Checks::Probes(PROBES, None), 2, pool.now);
    assert_eq!(pool.probe('a', "PP"), Up, "nobody has to sit out an ejection where there are probes");
}

#[test]
fn probes_come_at_the_interval_give_or_take_a_tenth_and_twice_as_often_in_doubt() {
    let mut pool = Pool::new(Checks::Probes(PROBES, None), "a", Up);
    let gap = |pool: &mut Pool| {
        let next = pool.verdicts.next_probe(&called('a'), pool.now, pool.now).expect("it is probed");
        (next - pool.now).as_millis()
    };
    let gaps: Vec<_> = (0..100).map(|_| gap(&mut pool)).collect();
    assert!(gaps.iter().all(|gap| (1_800..2_200).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < 1_900) && gaps.iter().any(|gap| *gap > 2_100), "{gaps:?}");
    pool.probe('a', "F");
    assert!((900..1_100).contains(&gap(&mut pool)));
    let late = pool.now + Duration::from_secs(60);
    assert_eq!(pool.verdicts.next_probe(&called('a'), pool.now, late), Some(late), "what is late is not made up for");
}
