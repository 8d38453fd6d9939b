use proptest::prelude::*;

use super::super::load::Lease;
use super::super::tests::members;
use super::*;

#[test]
fn ties_go_round() {
    let picker = LeastConnections::new(members(&[1, 1, 1]));
    let picks: Vec<_> = (0..6).map(|_| picker.pick(&[])).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2].map(Some));
}

#[test]
fn ties_go_round_among_some() {
    let all = members(&[1, 1, 1, 1, 1]);
    let _busy = [1, 2, 4].map(|busy: usize| all[busy].load.lease());
    let picker = LeastConnections::new(all.clone());
    let picks: Vec<_> = (0..4).map(|_| picker.pick(&[])).collect();
    assert_eq!(picks, [0, 3, 0, 3].map(Some));
}

#[test]
fn weights_share_the_sessions() {
    let all = members(&[1, 2, 3]);
    let picker = LeastConnections::new(all.clone());
    let mut leases = Vec::new();
    for _ in 0..60 {
        leases.push(all[usize::from(picker.pick(&[]).unwrap())].load.lease());
    }
    assert_eq!(all.iter().map(|member| member.load.active()).collect::<Vec<_>>(), [10, 20, 30]);
}

/// The same rule over plain numbers.
struct Model {
    weights: Vec<u16>,
    active: Vec<u64>,
    last: usize,
}

impl Model {
    fn pick(&self, tried: &[u16]) -> Option<usize> {
        let count = self.weights.len();
        let cost = |index: usize| (self.active[index] + 1) as f64 / f64::from(self.weights[index]);
        let open: Vec<usize> = (1..=count)
            .map(|distance| (self.last + distance) % count)
            .filter(|index| self.weights[*index] > 0 && !tried.iter().any(|tried| usize::from(*tried) == *index))
            .collect();
        let least = open.iter().map(|index| cost(*index)).min_by(f64::total_cmp)?;
        open.into_iter().find(|index| cost(*index) == least)
    }
}

proptest! {
    /// Sessions come and go at random; the picker and the model agree at every step.
    #[test]
    fn picks_as_the_model_does(
        weights in prop::collection::vec(0..5u16, 1..8),
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0..8u16), 0..200),
    ) {
        let all = members(&weights);
        let picker = LeastConnections::new(all.clone());
        let mut model = Model { active: vec![0; weights.len()], last: weights.len() - 1, weights };
        let mut sessions: Vec<(usize, Lease)> = Vec::new();
        for (ends, which, tried) in steps {
            if ends && !sessions.is_empty() {
                let (index, _lease) = sessions.swap_remove(which.index(sessions.len()));
                model.active[index] -= 1;
                continue;
            }
            let expected = model.pick(&[tried]);
            prop_assert_eq!(picker.pick(&[tried]).map(usize::from), expected);
            if let Some(index) = expected {
                sessions.push((index, all[index].load.lease()));
                model.active[index] += 1;
                model.last = index;
            }
        }
    }
}
