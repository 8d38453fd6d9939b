use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::super::load::{Lease, PendingAnswer};
use super::super::tests::{members, request};
use super::*;

/// Milliseconds; any will do.
const NOW: u64 = 1_000_000;
const MS: Duration = Duration::from_millis(1);

fn at(now_ms: u64, random: u64) -> Request<'static> {
    Request { now_ms, random, ..request(0) }
}

#[test]
fn the_fastest_is_picked_until_its_queue_is_longer() {
    let (all, now) = (members(&[1, 1]), NOW);
    all[0].load.latency.observe(10 * MS, now);
    all[1].load.latency.observe(25 * MS, now);
    let load = Arc::clone(&all[0].load);
    let picker = LeastLatency::new(all);
    let mut leases = Vec::new();
    for expected in [0, 0, 1] {
        assert!((0..100).all(|random| picker.pick(at(now, random)) == Some(expected)), "{} sessions", leases.len());
        leases.push(load.lease());
    }
}

#[test]
fn weight_makes_up_for_latency() {
    let (all, now) = (members(&[1, 4]), NOW);
    all[0].load.latency.observe(10 * MS, now);
    all[1].load.latency.observe(30 * MS, now);
    assert_eq!(LeastLatency::new(all).pick(at(now, 0)), Some(1));
}

#[test]
fn one_that_nothing_is_known_of_gets_its_share_and_no_more() {
    let (all, now) = (members(&[1, 1, 1]), NOW);
    all[0].load.latency.observe(10 * MS, now);
    all[1].load.latency.observe(10 * MS, now);
    let loads: Vec<_> = all.iter().map(|member| Arc::clone(&member.load)).collect();
    let picker = LeastLatency::new(all);
    let _leases: Vec<_> = (0..30)
        .map(|random| loads[usize::from(picker.pick(at(now, random)).expect("three are there"))].lease())
        .collect();
    assert!(loads.iter().all(|load| load.active() == 10));
}

#[test]
fn many_are_compared_two_at_a_time() {
    let (all, now) = (members(&[1; 100]), NOW);
    for (index, member) in all.iter().enumerate() {
        member.load.latency.observe(if index == 7 { 100 * MS } else { MS }, now);
    }
    let picker = LeastLatency::new(all);
    assert!((0..10_000).all(|random| picker.pick(at(now, random)) != Some(7)));
}

/// A client a millisecond, four backends that answer after 10 ms; one of them takes ten times as long until it gets well.
#[test]
fn a_slow_one_is_avoided_and_gets_its_share_back_within_ten_seconds() {
    let all = members(&[1; 4]);
    let loads: Vec<_> = all.iter().map(|member| Arc::clone(&member.load)).collect();
    let picker = LeastLatency::new(all);
    let start = NOW;
    let mut under_way = VecDeque::new();
    let share_of_first = |from_ms: u64, slow: u64, under_way: &mut VecDeque<_>| {
        let mut picked = 0;
        for ms in from_ms..from_ms + 10_000 {
            let now = start + ms;
            under_way.retain(|(due, took, index, _lease): &(u64, u64, usize, _)| {
                if *due <= ms {
                    loads[*index].latency.observe(Duration::from_millis(*took), now);
                }
                *due > ms
            });
            let index = usize::from(picker.pick(at(now, ms)).expect("four are there"));
            let took = if index == 0 { slow } else { 10 };
            under_way.push_back((ms + took, took, index, loads[index].lease()));
            // Of the last two seconds.
            picked += u32::from(index == 0 && ms >= from_ms + 8_000);
        }
        f64::from(picked) / 2_000.0
    };
    let well = share_of_first(0, 10, &mut under_way);
    let slow = share_of_first(10_000, 100, &mut under_way);
    let again = share_of_first(20_000, 10, &mut under_way);
    assert!((0.2..0.3).contains(&well), "{well}");
    assert!(slow < 0.05, "{slow}");
    assert!((0.2..0.3).contains(&again), "{again}");
}

/// A client a millisecond, four backends that answer after 10 ms; then one of them accepts and never answers again.
#[test]
fn one_that_stops_answering_gets_no_more_than_its_share_of_waiting_sessions() {
    let all = members(&[1; 4]);
    let loads: Vec<_> = all.iter().map(|member| Arc::clone(&member.load)).collect();
    let picker = LeastLatency::new(all);
    let mut under_way: VecDeque<(u64, PendingAnswer, Lease)> = VecDeque::new();
    let mut stuck = Vec::new();
    for ms in 0..60_000 {
        let now = NOW + ms;
        while under_way.front().is_some_and(|(due, ..)| *due <= ms) {
            let (_, pending, _lease) = under_way.pop_front().expect("it has a front");
            pending.answered(10 * MS, now);
        }
        let index = usize::from(picker.pick(at(now, ms)).expect("four are there"));
        let (pending, lease) = (loads[index].ask(), loads[index].lease());
        if index == 0 && ms >= 10_000 {
            stuck.push((pending, lease));
        } else {
            under_way.push_back((ms + 10, pending, lease));
        }
    }
    assert!(stuck.len() < 10, "{} sessions wait for ever", stuck.len());
}
