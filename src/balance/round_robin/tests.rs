use std::thread;

use super::super::tests::{member, members};
use super::*;

fn picks(picker: &RoundRobin, count: usize) -> Vec<u16> {
    (0..count).filter_map(|_| picker.pick(&[])).collect()
}

#[test]
fn the_heavy_one_is_spread_among_the_others() {
    let picker = RoundRobin::new(&members(&[5, 1, 1]));
    assert_eq!(picks(&picker, 14), [0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 2, 0]);
}

#[test]
fn only_the_available_with_weight_are_picked() {
    let mut all = members(&[1, 0, 1, 1]);
    all[3].available = false;
    assert_eq!(picks(&RoundRobin::new(&all), 4), [0, 2, 0, 2]);
}

#[test]
fn who_was_tried_is_next() {
    let picker = RoundRobin::new(&members(&[1, 1, 1]));
    assert_eq!(picker.pick(&[0]), Some(1));
    assert_eq!(picks(&picker, 5), [0, 2, 1, 0, 2]);
}

#[test]
fn workers_share_one_rotation() {
    let weights = [1, 2, 3, 10, 50, 50];
    let rounds = 500;
    let picker = RoundRobin::new(&members(&weights));
    let count = rounds * weights.iter().map(|weight| usize::from(*weight)).sum::<usize>();
    let mut totals = [0; 6];
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| picks(&picker, count / 4))).collect();
        for worker in workers {
            for position in worker.join().unwrap() {
                totals[usize::from(position)] += 1;
            }
        }
    });
    assert_eq!(count % 4, 0);
    assert_eq!(totals, weights.map(|weight| usize::from(weight) * rounds));
}

#[test]
fn a_rebuild_goes_on_where_the_last_one_was() {
    let all = members(&[1, 1, 1]);
    let mut picker = RoundRobin::new(&all);
    let mut sequence = Vec::new();
    for _ in 0..7 {
        sequence.extend(picker.pick(&[]));
        picker = RoundRobin::resume(&all, &picker);
    }
    assert_eq!(sequence, [0, 1, 2, 0, 1, 2, 0]);
}

/// The last member comes and goes at every pick; the others still share evenly.
#[test]
fn a_flapping_backend_does_not_favour_the_first() {
    let mut all = members(&[4, 4, 1, 1]);
    let mut picker = RoundRobin::new(&all);
    let mut totals = [0u32; 4];
    for _ in 0..1_000 {
        totals[usize::from(picker.pick(&[3]).unwrap())] += 1;
        all[3].available = !all[3].available;
        picker = RoundRobin::resume(&all, &picker);
    }
    let [a, b, c, d] = totals;
    assert!(a.abs_diff(b) <= 1 && d == 0, "{totals:?}");
    assert!((80..=170).contains(&c), "a ninth to a sixth of the picks, {totals:?}");
}

#[test]
fn positions_may_change_in_a_rebuild() {
    let before = RoundRobin::new(&members(&[1, 1, 1]));
    assert_eq!(picks(&before, 1), [0]);
    let after = RoundRobin::resume(&[member(9, 1), member(2, 1), member(1, 1), member(0, 1)], &before);
    assert_eq!(picks(&after, 5), [2, 1, 3, 0, 2], "1 and 2 were waiting, 0 was just picked, 9 is new");
}

#[test]
fn a_new_weight_is_a_new_place() {
    let before = RoundRobin::new(&members(&[1, 1, 1]));
    let after = RoundRobin::resume(&members(&[2, 1, 1]), &before);
    let mut picks = picks(&after, 8);
    picks.sort_unstable();
    assert_eq!(picks, [0, 0, 0, 0, 1, 1, 2, 2]);
}
