use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::super::cost::Cost;
use super::super::load::{Lease, Load};
use super::*;

fn loads(count: usize) -> Vec<Arc<Load>> {
    (0..count).map(|_| Arc::default()).collect()
}

fn build(weights: &[u16]) -> Arc<LoadIndex> {
    Arc::new(LoadIndex::new(weights.iter().copied()))
}

fn activate(loads: &[Arc<Load>], weights: &[u16]) -> Arc<LoadIndex> {
    let index = build(weights);
    Load::register_all(loads.iter(), &index);
    index
}

#[track_caller]
fn assert_exact(index: &LoadIndex, loads: &[Arc<Load>]) {
    let active: Vec<u32> = loads.iter().map(|load| load.active()).collect();
    assert!(index.is_current());
    assert_eq!(index.lock().active(), active);
    assert_eq!(index.sessions(), active.into_iter().map(u64::from).sum::<u64>());
    assert!(index.lock().is_decided());
}

#[test]
fn without_sessions_all_are_picked_in_order() {
    for count in [1, 2, 3, 8, 100] {
        let index = activate(&loads(count), &vec![1; count]);
        for round in 0..3 {
            let picks: Vec<_> = (0..count).filter_map(|_| index.pick(|_| false)).map(usize::from).collect();
            assert!(picks.iter().copied().eq(0..count), "round {round}: {picks:?}");
        }
    }
    assert_eq!(activate(&[], &[]).pick(|_| false), None);
}

#[test]
fn sessions_from_before_and_during_the_change_count() {
    let loads = loads(3);
    let before: Vec<_> = [0, 0, 1].map(|leaf| loads[leaf].lease()).into();
    let old = activate(&loads, &[1; 3]);
    let between = loads[2].lease();
    let new = build(&[1; 3]);
    let during = loads[1].lease();
    assert_exact(&old, &loads);
    assert_eq!(new.sessions(), 0, "nothing reports to an index that is only built");
    Load::register_all(loads.iter(), &new);
    assert!(!old.is_current());
    assert_exact(&new, &loads);
    drop((before, between, during));
    assert_exact(&new, &loads);
    assert_eq!((old.sessions(), new.sessions()), (5, 0), "only the current one gets reports");
}

#[test]
fn an_index_that_lost_a_single_load_is_superseded() {
    let loads = loads(3);
    let old = activate(&loads, &[1; 3]);
    let new = activate(&loads[2..], &[1]);
    assert!(new.is_current() && !old.is_current());
    Load::register_all(loads.iter(), &old);
    assert!(new.is_current() && !old.is_current(), "an index is registered once and never again");
}

#[test]
fn an_index_that_is_dropped_leaves_the_loads_alone() {
    let loads = loads(3);
    let current = activate(&loads, &[1; 3]);
    drop(build(&[1; 3]));
    let _lease = loads[0].lease();
    assert_exact(&current, &loads);
    drop(current);
    drop(loads[1].lease());
    assert_exact(&activate(&loads, &[1; 3]), &loads);
}

#[test]
fn sessions_of_many_threads_add_up() {
    let loads = loads(40);
    let index = activate(&loads, &[1; 40]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut leases = Vec::new();
                for turn in 0..20_000 {
                    let picked = index.pick(|_| false).expect("there are members");
                    leases.push(loads[usize::from(picked)].lease());
                    if turn % 3 == 0 {
                        leases.swap_remove(turn % leases.len());
                    }
                }
                leases.truncate(leases.len() / 2);
                std::mem::forget(leases);
            });
        }
    });
    assert_exact(&index, &loads);
}

/// The index is replaced again and again while sessions begin and end on all loads. The last one of a round is registered
/// while the last sessions of that round do so.
#[test]
fn an_index_registered_in_the_midst_of_traffic_is_exact() {
    const ROUNDS: u64 = 300;
    let loads = loads(8);
    let mut kept: Vec<Lease> = Vec::new();
    let mut replacements = 0;
    for _ in 0..ROUNDS {
        let mut current = activate(&loads, &[1; 8]);
        thread::scope(|scope| {
            let traffic = |thread: usize| {
                let mut leases: Vec<_> = loads.iter().cycle().skip(thread).take(200).map(Load::lease).collect();
                leases.truncate(thread);
                leases
            };
            let threads: Vec<_> = (0..3).map(|thread| scope.spawn(move || traffic(thread))).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                let replaced = std::mem::replace(&mut current, activate(&loads, &[1; 8]));
                assert!(!replaced.is_current());
                replacements += 1;
            }
            kept.extend(threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")));
        });
        assert_exact(&current, &loads);
        assert_eq!(current.sessions(), kept.len() as u64);
    }
    assert_eq!(kept.len() as u64, 3 * ROUNDS);
    assert!(replacements > 0);
}

proptest! {
    /// Whatever begins and ends: no other costs less than the one picked, and of equal ones it is the one picked longest ago.
    #[test]
    fn picks_what_reading_all_loads_finds(
        weights in prop::collection::vec(1..5u16, 1..40),
        steps in prop::collection::vec((0..3u8, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..200),
    ) {
        let loads = loads(weights.len());
        let index = activate(&loads, &weights);
        let mut leases = Vec::new();
        let mut last_pick = vec![0; weights.len()];
        for (step, (what, who, excluded)) in steps.iter().enumerate() {
            match what {
                0 => leases.push(loads[who.index(loads.len())].lease()),
                1 if !leases.is_empty() => drop(leases.swap_remove(who.index(leases.len()))),
                _ => {
                    let excluded = excluded.index(loads.len() + 1);
                    let picked = index.pick(|leaf| usize::from(leaf) == excluded).map(usize::from);
                    let others = (0..loads.len()).filter(|leaf| *leaf != excluded);
                    let expected = others.min_by_key(|leaf| {
                        (Cost::of_one_more(loads[*leaf].active(), weights[*leaf]), last_pick[*leaf], *leaf)
                    });
                    prop_assert_eq!(picked, expected);
                    if let Some(picked) = picked {
                        last_pick[picked] = step + 1;
                    }
                }
            }
        }
    }
}
