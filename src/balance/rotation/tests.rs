use proptest::prelude::*;

use super::*;

fn rotation(weights: &[u16]) -> Rotation {
    Rotation::new(positioned(weights.iter().copied()), &BTreeMap::new())
}

/// The next turns, members as letters.
fn letters(rotation: &mut Rotation, turns: usize) -> String {
    (0..turns).map(|_| char::from(b'a' + u8::try_from(rotation.next(&[]).unwrap()).unwrap())).collect()
}

#[test]
fn pinned_sequences() {
    for (weights, sequence) in [
        (&[1][..], "aaaa"),
        (&[1, 1, 1], "abcabc"),
        (&[5, 1, 1], "abaaacaabaaaca"),
        (&[4, 1, 1], "abaacaabaaca"),
        (&[1, 2], "babbab"),
        (&[1, 2, 3], "cbacbccbacbc"),
        (&[1, 1, 2], "acbcacbc"),
        (&[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "abacadaeafagahaiajak"),
    ] {
        assert_eq!(letters(&mut rotation(weights), sequence.len()), sequence, "weights {weights:?}");
    }
}

#[test]
fn the_skipped_are_next() {
    let mut rotation = rotation(&[1, 1, 1, 1]);
    assert_eq!(rotation.next(&[0, 1]), Some(2));
    assert_eq!(letters(&mut rotation, 7), "abdcabd");
}

#[test]
fn a_skipped_ring_is_next() {
    let mut rotation = rotation(&[7, 2, 1]);
    assert_eq!(rotation.next(&[0]), Some(1));
    assert_eq!(rotation.next(&[0, 1]), Some(2));
    assert_eq!(rotation.next(&[0, 1, 2]), None);
    assert_eq!(letters(&mut rotation, 5), "aaaaa");
}

#[test]
fn shares_stay_exact_over_ten_million_turns() {
    let weights = [1, 65_535, 2, 65_534, 7, 1_000, 1_000, 32_768, 65_535, 3];
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let rounds = 10_000_000 / total;
    let mut rotation = rotation(&weights);
    let mut turns = [0; 10];
    for _ in 0..rounds * total {
        turns[usize::from(rotation.next(&[]).unwrap())] += 1;
    }
    assert!(rounds > 30);
    assert_eq!(turns, weights.map(|weight| u64::from(weight) * rounds));
}

#[test]
fn the_largest_possible_ring_counts_in_range() {
    let mut rotation = rotation(&vec![u16::MAX; usize::from(u16::MAX)]);
    rotation.rings[0].taken = rotation.rings[0].share - 2;
    assert_eq!(letters(&mut rotation, 3), "abc");
    assert_eq!(rotation.turns.peek().unwrap().0.round, 1);
}

#[test]
fn rounds_do_not_wrap_where_a_u32_would() {
    let mut rotation = rotation(&[1, 2]);
    let far = rotation.turns.drain().map(|Reverse(turn)| Reverse(Turn { round: u64::from(u32::MAX), ..turn }));
    rotation.turns = far.collect::<Vec<_>>().into();
    assert_eq!(letters(&mut rotation, 9), "babbabbab");
}

proptest! {
    /// At any moment everyone is within one ring's spacing of its share: never a burst, never a drought.
    #[test]
    fn turns_are_exact_by_the_round_and_close_within_it(weights in prop::collection::vec(1..40u16, 1..12)) {
        let mut rotation = rotation(&weights);
        let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        let mut turns = vec![0u32; weights.len()];
        for turn in 1..=3 * total {
            turns[usize::from(rotation.next(&[]).unwrap())] += 1;
            for (taken, weight) in turns.iter().zip(&weights) {
                let fair = f64::from(turn) * f64::from(*weight) / f64::from(total);
                prop_assert!((f64::from(*taken) - fair).abs() < 2.0 + weights.len() as f64 / 2.0);
            }
            if turn % total == 0 {
                for (taken, weight) in turns.iter().zip(&weights) {
                    prop_assert_eq!(*taken, turn / total * u32::from(*weight));
                }
            }
        }
    }

    /// Whatever was skipped: once the overdue have had their turns, every round is exact again.
    #[test]
    fn skipping_leaves_no_debt(
        weights in prop::collection::vec(1..6u16, 2..8),
        skips in prop::collection::vec(prop::collection::vec(0..8u16, 0..4), 0..60),
    ) {
        let mut rotation = rotation(&weights);
        for skipped in &skips {
            let everyone = (0..weights.len()).all(|position| skipped.iter().any(|skip| usize::from(*skip) == position));
            let next = rotation.next(skipped);
            prop_assert_eq!(next.is_none(), everyone);
            prop_assert!(next.is_none_or(|next| !skipped.contains(&next)));
        }
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        // Each skip may let another one have a turn of the next round: until all the rounds are caught up with.
        letters(&mut rotation, (skips.len() + 1) * total);
        let mut turns = vec![0; weights.len()];
        for _ in 0..total {
            turns[usize::from(rotation.next(&[]).unwrap())] += 1;
        }
        prop_assert_eq!(turns, weights);
    }

    #[test]
    fn phases_let_another_rotation_go_on(weights in prop::collection::vec(1..20u16, 1..10), turns in 0..200usize) {
        let mut before = rotation(&weights);
        letters(&mut before, turns);
        let mut after = Rotation::new(before.order(), &before.phases());
        // Rounding may swap turns that are due at one moment, so counts are compared and not the order.
        let mut ahead = vec![0i32; weights.len()];
        for _ in 0..100 {
            ahead[usize::from(before.next(&[]).unwrap())] += 1;
            ahead[usize::from(after.next(&[]).unwrap())] -= 1;
            prop_assert!(ahead.iter().all(|ahead| ahead.abs() <= 1), "{ahead:?}");
        }
    }
}
