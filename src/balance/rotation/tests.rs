use proptest::prelude::*;

use super::*;

fn rotation(weights: &[u16]) -> Rotation {
    Rotation::new(positioned(weights.iter().copied()), &BTreeMap::new())
}

/// The next members as letters.
fn letters(rotation: &mut Rotation, count: usize) -> String {
    (0..count).map(|_| char::from(b'a' + u8::try_from(rotation.next(&[]).unwrap()).unwrap())).collect()
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
fn a_skipped_class_is_next() {
    let mut rotation = rotation(&[7, 2, 1]);
    assert_eq!(rotation.next(&[0]), Some(1));
    assert_eq!(rotation.next(&[0, 1]), Some(2));
    assert_eq!(rotation.next(&[0, 1, 2]), None);
    assert_eq!(letters(&mut rotation, 5), "aaaaa");
}

#[test]
fn shares_stay_exact_over_ten_million_picks() {
    let weights = [1, 65_535, 2, 65_534, 7, 1_000, 1_000, 32_768, 65_535, 3];
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let rounds = 10_000_000 / total;
    let mut rotation = rotation(&weights);
    let mut picks = [0; 10];
    for _ in 0..rounds * total {
        picks[usize::from(rotation.next(&[]).unwrap())] += 1;
    }
    assert!(rounds > 30);
    assert_eq!(picks, weights.map(|weight| u64::from(weight) * rounds));
}

#[test]
fn the_largest_possible_class_counts_in_range() {
    let mut rotation = rotation(&vec![u16::MAX; usize::from(u16::MAX)]);
    rotation.classes[0].picks_this_round = rotation.classes[0].picks_per_round - 2;
    assert_eq!(letters(&mut rotation, 3), "abc");
    assert_eq!(rotation.deadlines.peek().unwrap().0.round, 1);
}

#[test]
fn rounds_do_not_wrap_where_a_u32_would() {
    let mut rotation = rotation(&[1, 2]);
    let at_the_wrap = |Reverse(deadline)| Reverse(Deadline { round: u64::from(u32::MAX), ..deadline });
    rotation.deadlines = rotation.deadlines.drain().map(at_the_wrap).collect::<Vec<_>>().into();
    assert_eq!(letters(&mut rotation, 9), "babbabbab");
}

proptest! {
    /// At any moment every member is within one stride of its class of its share: never a burst, never a drought.
    #[test]
    fn picks_are_exact_by_the_round_and_close_within_it(weights in prop::collection::vec(1..40u16, 1..12)) {
        let mut rotation = rotation(&weights);
        let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        let mut picks = vec![0u32; weights.len()];
        for pick in 1..=3 * total {
            picks[usize::from(rotation.next(&[]).unwrap())] += 1;
            for (taken, weight) in picks.iter().zip(&weights) {
                let fair = f64::from(pick) * f64::from(*weight) / f64::from(total);
                prop_assert!((f64::from(*taken) - fair).abs() < 2.0 + weights.len() as f64 / 2.0);
            }
            if pick % total == 0 {
                for (taken, weight) in picks.iter().zip(&weights) {
                    prop_assert_eq!(*taken, pick / total * u32::from(*weight));
                }
            }
        }
    }

    /// Whatever was skipped: once the overdue have come, every round is exact again.
    #[test]
    fn skipping_leaves_no_debt(
        weights in prop::collection::vec(1..6u16, 2..8),
        skips in prop::collection::vec(prop::collection::vec(0..8u16, 0..4), 0..60),
    ) {
        let mut rotation = rotation(&weights);
        for skipped in &skips {
            let all = (0..weights.len()).all(|position| skipped.iter().any(|skip| usize::from(*skip) == position));
            let next = rotation.next(skipped);
            prop_assert_eq!(next.is_none(), all);
            prop_assert!(next.is_none_or(|next| !skipped.contains(&next)));
        }
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        // Each skip may let another one come ahead of its round: until the rounds of all are the same again.
        letters(&mut rotation, (skips.len() + 1) * total);
        let mut picks = vec![0; weights.len()];
        for _ in 0..total {
            picks[usize::from(rotation.next(&[]).unwrap())] += 1;
        }
        prop_assert_eq!(picks, weights);
    }

    #[test]
    fn offsets_let_another_rotation_go_on(weights in prop::collection::vec(1..20u16, 1..10), picks in 0..200usize) {
        let mut before = rotation(&weights);
        letters(&mut before, picks);
        let mut after = Rotation::new(before.members(), &before.offsets());
        // Rounding may swap deadlines of one moment, so counts are compared and not the order.
        let mut ahead = vec![0i32; weights.len()];
        for _ in 0..100 {
            ahead[usize::from(before.next(&[]).unwrap())] += 1;
            ahead[usize::from(after.next(&[]).unwrap())] -= 1;
            prop_assert!(ahead.iter().all(|ahead| ahead.abs() <= 1), "{ahead:?}");
        }
    }
}
