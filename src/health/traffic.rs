//! Judging a backend by what becomes of the datagrams of clients: pure, the counters and the clock are elsewhere.
//!
//! Silence alone proves little: a name server does not answer what it does not understand, and any client can send it that
//! from any number of addresses. Nor is it silence yet when datagrams have just gone out. So what stays
//! unanswered counts when the next observation has seen no reply either, and a single reply to any client clears a backend
//! of all that was found before it, refusals as well; only one that is silent to all clients, or whose machine refuses
//! datagrams, fails.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::PassiveCheck;
use crate::pool::backend::Counted;

/// The evidence against one backend.
#[derive(Debug)]
pub(super) struct Traffic {
    last: Counted,
    /// Flows that the last observation found unanswered: their replies may be on their way.
    pending: u64,
    /// When how many flows were found to be unanswered or refused; none older than the window.
    strikes: VecDeque<(Instant, u64)>,
}

impl Traffic {
    /// No evidence yet; what was `counted` before is none.
    pub(super) fn new(counted: Counted) -> Self {
        Self { last: counted, pending: 0, strikes: VecDeque::new() }
    }

    /// Takes what is counted at `now` into account: whether the backend has failed, which clears the evidence.
    ///
    /// Called every [`Traffic::observe_every`]: the time from one call to the next is what a reply has at least, and a
    /// few calls in each window tell what happens in one from what happens in two.
    pub(super) fn observe(&mut self, counted: Counted, now: Instant, check: &PassiveCheck) -> bool {
        let since = |read: fn(&Counted) -> u64| read(&counted).saturating_sub(read(&self.last));
        let (unanswered, refused, replies) =
            (since(|it| it.unanswered), since(|it| it.refused), since(|it| it.replies));
        self.last = counted;
        if replies > 0 {
            self.clear();
        } else if self.pending > 0 {
            self.strikes.push_back((now, self.pending));
        }
        // Who was asked before the reply is not told from who was asked after it.
        self.pending = if replies > 0 { 0 } else { unanswered };
        if refused > 0 {
            self.strikes.push_back((now, refused));
        }
        while self.strikes.front().is_some_and(|(at, _)| now.duration_since(*at) > check.window) {
            self.strikes.pop_front();
        }
        let has_failed = self.strikes.iter().map(|(_, flows)| flows).sum::<u64>() >= u64::from(check.flows.get());
        if has_failed {
            self.clear();
        }
        has_failed
    }

    fn clear(&mut self) {
        self.pending = 0;
        self.strikes.clear();
    }

    /// How often [`Traffic::observe`] is to be called.
    pub(super) fn observe_every(check: &PassiveCheck) -> Duration {
        // A tenth of the window tells well enough; clients notice a second, but not a hundredth of one.
        (check.window / 10).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// How often a backend was ejected lately, and so for how long it is next.
///
/// ```text
/// in the pool --failed--> ejected, `eject_for` x times --over--> in the pool
/// ```
///
/// A backend that has been in the pool for as long as the longest ejection starts anew. Beside probes, which bring a
/// backend back by themselves, the first time is theirs alone: see [`Ejections::hold`].
#[derive(Debug, Default)]
pub(super) struct Ejections {
    times: u32,
    over_at: Option<Instant>,
}

impl Ejections {
    /// Ejects at `now`; for how long, before [`jittered`](super::pace::jittered).
    pub(super) fn eject(&mut self, now: Instant, check: &PassiveCheck) -> Duration {
        let has_behaved = self.over_at.is_some_and(|over| now.duration_since(over) >= check.eject_for_at_most);
        self.times = if has_behaved { 1 } else { self.times.saturating_add(1) };
        let span = check.eject_for.saturating_mul(self.times).min(check.eject_for_at_most);
        self.over_at = now.checked_add(span);
        span
    }

    /// Ejects at `now` a backend that has probes; for how long they cannot bring it back. Not at all the first time,
    /// and after that as long as it would have been out the time before: a probe that passes while clients get no
    /// answer must not send more and more of them there.
    pub(super) fn hold(&mut self, now: Instant, check: &PassiveCheck) -> Duration {
        self.eject(now, check).saturating_sub(check.eject_for)
    }
}

/// Whether one more of `backends` may be ejected when `ejected` of them are out.
pub(super) fn has_room(ejected: usize, backends: usize, check: &PassiveCheck) -> bool {
    (ejected + 1) as f64 <= backends as f64 * check.max_ejected
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const CHECK: PassiveCheck = PassiveCheck {
        unanswered: NonZeroU32::new(5).expect("5 is not 0"),
        flows: NonZeroU32::new(3).expect("3 is not 0"),
        window: Duration::from_secs(10),
        eject_for: Duration::from_secs(10),
        eject_for_at_most: Duration::from_secs(60),
        max_ejected: 0.5,
    };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Whether the backend has failed after each of `steps`: seconds since the start, and what is counted by then.
    fn failures(steps: &[(u64, u64, u64, u64)]) -> Vec<bool> {
        let start = Instant::now();
        let mut traffic = Traffic::new(Counted::default());
        let observe = |&(at, unanswered, refused, replies): &(u64, u64, u64, u64)| {
            traffic.observe(Counted { unanswered, refused, replies }, start + seconds(at), &CHECK)
        };
        steps.iter().map(observe).collect()
    }

    #[test]
    fn enough_silent_flows_within_the_window_are_a_failure() {
        assert_eq!(failures(&[(1, 2, 0, 0), (5, 2, 0, 0), (9, 3, 0, 0), (10, 3, 0, 0)]), [false, false, false, true]);
        assert_eq!(failures(&[(1, 3, 0, 0), (2, 3, 0, 0)]), [false, true]);
    }

    #[test]
    fn silence_counts_when_the_next_observation_sees_no_reply_either() {
        assert_eq!(failures(&[(1, 99, 0, 0), (2, 99, 0, 3), (3, 99, 0, 3)]), [false, false, false]);
        // A client after the other is idle, sends a burst just before an observation, and is answered.
        let bursts: Vec<_> = (1_u64..50).map(|at| (at, at.div_ceil(2) * 3, 0, at / 2)).collect();
        assert!(!failures(&bursts).contains(&true));
    }

    #[test]
    fn silence_from_before_the_window_is_forgotten() {
        let steps = [(1, 2, 0, 0), (2, 2, 0, 0), (12, 3, 0, 0), (13, 3, 0, 0), (14, 5, 0, 0), (15, 5, 0, 0)];
        assert_eq!(failures(&steps), [false, false, false, false, false, true]);
    }

    #[test]
    fn one_reply_clears_all_silence() {
        let steps = [(1, 2, 0, 0), (2, 99, 0, 1), (3, 101, 0, 1), (4, 102, 0, 1), (5, 102, 0, 1)];
        assert_eq!(failures(&steps), [false, false, false, false, true]);
    }

    #[test]
    fn refusals_count_at_once_and_beside_replies() {
        assert_eq!(failures(&[(1, 1, 3, 0)]), [true]);
        assert_eq!(failures(&[(1, 0, 3, 7)]), [true]);
        assert_eq!(failures(&[(1, 2, 0, 0), (2, 2, 1, 0)]), [false, true]);
    }

    #[test]
    fn one_reply_clears_the_refusals_before_it() {
        assert_eq!(failures(&[(1, 0, 2, 0), (2, 0, 2, 1), (3, 0, 4, 1), (4, 0, 5, 1)]), [false, false, false, true]);
    }

    #[test]
    fn a_failure_takes_new_evidence_to_be_repeated() {
        assert_eq!(failures(&[(1, 0, 3, 0), (2, 0, 3, 0), (3, 0, 6, 0)]), [true, false, true]);
        assert_eq!(failures(&[(1, 9, 3, 0), (2, 9, 3, 0)]), [true, false], "what was pending then is done with");
    }

    #[test]
    fn what_was_counted_before_is_no_evidence() {
        let counted = Counted { unanswered: 99, refused: 99, replies: 0 };
        assert!(!Traffic::new(counted).observe(counted, Instant::now(), &CHECK));
    }

    #[test]
    fn ejections_grow_up_to_the_cap_and_start_anew_after_good_behaviour() {
        let mut now = Instant::now();
        let mut ejections = Ejections::default();
        let mut spans = Vec::new();
        for behaved in [0, 1, 1, 1, 1, 1, 1, 60, 1] {
            now += seconds(behaved);
            let span = ejections.eject(now, &CHECK);
            now += span;
            spans.push(span.as_secs());
        }
        assert_eq!(spans, [10, 20, 30, 40, 50, 60, 60, 10, 20]);
    }

    #[test]
    fn probes_decide_alone_the_first_time_and_later_ever_less_often() {
        let mut now = Instant::now();
        let mut ejections = Ejections::default();
        let mut holds = Vec::new();
        for behaved in [0, 1, 1, 1, 1, 1, 1, 60, 1] {
            // Probes take a while, too.
            now += seconds(behaved + 10);
            let hold = ejections.hold(now, &CHECK);
            now += hold;
            holds.push(hold.as_secs());
        }
        assert_eq!(holds, [0, 10, 20, 30, 40, 50, 50, 0, 10]);
    }

    #[test]
    fn never_more_than_a_share_of_the_pool_is_out() {
        let room = |backends| (0..9).take_while(|ejected| has_room(*ejected, backends, &CHECK)).count();
        assert_eq!([1, 2, 3, 4, 5].map(room), [0, 1, 1, 2, 2]);
        assert!(has_room(0, 1, &PassiveCheck { max_ejected: 1.0, ..CHECK }));
        assert!(!has_room(0, 100, &PassiveCheck { max_ejected: 0.0, ..CHECK }));
    }
}
