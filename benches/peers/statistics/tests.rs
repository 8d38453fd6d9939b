//! The statistics of the comparison on known values. A program of its own, beside what it tests: see `Cargo.toml`.

mod comparison;
mod interleaving;
mod spread;

use comparison::{Ratios, compare, ratio};
use interleaving::{interleave, neighbours};
use spread::{Spread, Verdict};

#[track_caller]
fn spread_of(figures: &[f64]) -> Spread {
    Spread::of(figures.iter().copied()).expect("there are figures")
}

#[track_caller]
fn assert_spread(figures: &[f64], expected: [f64; 3]) {
    let spread = spread_of(figures);
    let found = [spread.first_quartile, spread.median, spread.third_quartile];
    let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-9);
    assert!(close, "{figures:?} gives {found:?}, not {expected:?}");
    assert_eq!(spread.count, figures.len());
}

#[test]
fn medians_and_quartiles_of_known_figures() {
    assert_eq!(Spread::of([]), None);
    assert_spread(&[7.0], [7.0, 7.0, 7.0]);
    assert_spread(&[4.0, 2.0], [2.0, 3.0, 4.0]);
    assert_spread(&[5.0, 1.0, 3.0, 2.0, 4.0], [1.0 + 2.0 / 3.0, 3.0, 4.0 + 1.0 / 3.0]);
    assert_spread(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [2.0 + 5.0 / 12.0, 4.5, 6.0 + 7.0 / 12.0]);
    // One that went wrong moves nothing but its own quartile.
    assert_spread(&[1.0, 1.0, 1.0, 1.0, 90.0], [1.0, 1.0, 1.0 + 89.0 / 3.0]);
}

#[test]
fn a_ratio_of_one_within_the_quartiles_is_even() {
    let verdict = |ratios: &[f64]| spread_of(ratios).verdict();
    assert_eq!(verdict(&[0.97, 0.99, 1.01, 1.02, 1.03]), Verdict::Even);
    assert_eq!(verdict(&[1.0, 1.0, 1.0]), Verdict::Even);
    assert_eq!(verdict(&[0.90, 0.91, 0.92, 0.93, 1.30]), Verdict::Even, "the third quartile is above 1");
    assert_eq!(verdict(&[0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 1.30]), Verdict::Less);
    assert_eq!(verdict(&[1.10, 1.11, 1.12, 1.13, 1.14]), Verdict::More);
    assert_eq!(verdict(&[1.10, 1.11]), Verdict::Open);
}

#[test]
fn everybody_stands_between_two_of_the_reference() {
    assert_eq!(interleave('R', &['A', 'B', 'C']), ['R', 'A', 'R', 'B', 'R', 'C', 'R']);
    assert_eq!(interleave('R', &[]), ['R']);
}

#[test]
fn neighbours_are_the_next_runs_of_the_reference() {
    let order = interleave('R', &['A', 'B', 'C']);
    for (place, peer) in order.iter().enumerate() {
        let Some(neighbours) = neighbours(place) else {
            assert_eq!(place, 0, "only the first has none before it");
            continue;
        };
        assert!(neighbours.iter().all(|place| order.get(*place).is_none_or(|peer| *peer == 'R')), "{neighbours:?}");
        assert!(!neighbours.contains(&place), "{peer} at {place} is no neighbour of its own");
    }
    assert_eq!(neighbours(1), Some([0, 2]), "A stands between the first two");
    assert_eq!(neighbours(4), Some([2, 6]), "the reference's own on its other sides");
}

#[test]
fn a_run_is_seen_beside_its_neighbours() {
    assert_eq!(ratio(30.0, [10.0, 20.0]), 2.0);
    assert_eq!(ratio(15.0, [15.0, 15.0]), 1.0);
    // The machine became half as fast in between: the run in the middle saw both.
    assert_eq!(ratio(15.0, [10.0, 20.0]), 1.0);
}

#[test]
fn two_are_compared_within_their_rounds() {
    let ours = Ratios::from([(0, 0.5), (1, 1.0), (2, 3.0), (3, 9.0)]);
    let theirs = Ratios::from([(0, 1.0), (1, 1.0), (2, 2.0), (4, 1.0)]);
    let spread = compare(&ours, &theirs).expect("they have rounds in common");
    assert_eq!((spread.median, spread.count), (1.0, 3), "of 0.5, 1.0 and 1.5");
    assert_eq!(compare(&ours, &Ratios::new()), None);
}

#[test]
fn a_slow_round_is_no_disadvantage() {
    // In the second round everything takes twice as long, the reference, too.
    let ours = Ratios::from([(0, ratio(11.0, [10.0, 10.0])), (1, ratio(22.0, [20.0, 20.0]))]);
    let reference = Ratios::from([(0, 1.0), (1, 1.0)]);
    let spread = compare(&ours, &reference).expect("they have rounds in common");
    assert_eq!((spread.first_quartile, spread.median, spread.third_quartile), (1.1, 1.1, 1.1));
}
