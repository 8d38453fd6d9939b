use proptest::prelude::*;

use super::super::tests::{MAGLEV, member, members, request};
use super::super::{Lease, Picker};
use super::table::SLOTS;
use super::*;
use crate::config::{HashKey, Policy};

const PLAIN: Hashing = Hashing { key: HashKey::SourceIp, bounded_load: None };

fn maglev(members: Vec<Member>) -> Maglev {
    Maglev::new(PLAIN, members, None)
}

/// Keys as callers make them: hashes of client addresses.
fn client(index: u32) -> u64 {
    hash(&index.to_be_bytes(), 0)
}

/// Slots of each rank.
fn shares(table: &Table) -> Vec<u32> {
    let mut shares = vec![0; table.members.len()];
    table.slots.iter().for_each(|rank| shares[usize::from(*rank)] += 1);
    shares
}

/// How far the largest and the smallest are from the mean, as a share of it.
fn imbalance(counts: &[u32]) -> f64 {
    let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts.iter().map(|count| (f64::from(*count) / mean - 1.0).abs()).fold(0.0, f64::max)
}

/// The key of the owner of each slot.
fn owners(table: &Table) -> Vec<u64> {
    table.slots.iter().map(|rank| table.members[usize::from(*rank)].0).collect()
}

#[test]
fn slots_are_shared_evenly() {
    for count in [1, 2, 10, 650] {
        let shares = shares(&maglev(members(&vec![1; count])).table);
        assert!(imbalance(&shares) <= 0.01, "{count} members: {}", imbalance(&shares));
    }
}

#[test]
fn slots_are_shared_by_weight() {
    let weights = [1, 2, 3, 10, 100];
    let picker = maglev(members(&weights));
    for (share, (_, weight)) in shares(&picker.table).into_iter().zip(&picker.table.members) {
        let fair = f64::from(SLOTS) * f64::from(*weight) / 116.0;
        assert!((f64::from(share) - fair).abs() <= 2.0, "weight {weight} has {share} slots, fair is {fair}");
    }
}

/// A million clients bring the noise of a million dice: 0.3 % for one of ten backends, three times that for the
/// furthest of them.
#[test]
fn clients_are_shared_evenly() {
    let picker = maglev(members(&[1; 10]));
    let mut clients = [0; 10];
    for index in 0..1_000_000 {
        clients[usize::from(picker.pick(request(client(index))).unwrap())] += 1;
    }
    assert!(imbalance(&clients) <= 0.02, "{clients:?}");
}

#[test]
fn keys_that_are_not_hashed_are_shared_evenly_too() {
    let picker = maglev(members(&[1; 10]));
    let mut clients = [0; 10];
    for key in 0..1_000_000 {
        clients[usize::from(picker.pick(request(key)).unwrap())] += 1;
    }
    assert!(imbalance(&clients) <= 0.02, "{clients:?}");
}

#[test]
fn a_backend_down_moves_only_its_own_clients_and_spreads_them() {
    let mut all = members(&[1; 10]);
    let before = maglev(all.clone());
    all[3].available = false;
    let after = Maglev::new(PLAIN, all, Some(&before));
    let mut moved = [0; 10];
    for index in 0..200_000 {
        let (was, is) = (before.pick(request(client(index))).unwrap(), after.pick(request(client(index))).unwrap());
        if was == 3 {
            moved[usize::from(is)] += 1;
        } else {
            assert_eq!(was, is, "client {index} moved though its backend is up");
        }
    }
    assert_eq!(moved[3], 0);
    let moved: Vec<u32> = moved.into_iter().filter(|count| *count > 0).collect();
    assert_eq!(moved.len(), 9, "each takes some");
    assert!(imbalance(&moved) <= 0.1, "20,000 clients went to {moved:?}");
}

/// With a twentieth of the slots usable, one client in 27 finds its backend by search and not by probing.
#[test]
fn a_backend_down_moves_only_its_own_clients_when_few_are_left() {
    let mut all = members(&[1; 200]);
    all.iter_mut().skip(10).for_each(|member| member.available = false);
    let before = maglev(all.clone());
    all[3].available = false;
    let after = maglev(all);
    let mut moved = 0;
    for index in 0..20_000 {
        let (was, is) = (before.pick(request(client(index))).unwrap(), after.pick(request(client(index))).unwrap());
        assert!(was == is || was == 3, "client {index} moved from {was} to {is}");
        moved += u32::from(was != is);
    }
    assert!((1_500..2_500).contains(&moved), "{moved} clients of 20,000 belonged to one of ten");
}

#[test]
fn a_backend_removed_moves_few_others() {
    for weight in [|_: u16| 1, |index: u16| 1 + index % 7] {
        let weights: Vec<u16> = (0..20).map(weight).collect();
        let mut all = members(&weights);
        let before = owners(&maglev(all.clone()).table);
        let gone = all.remove(7).key;
        let after = owners(&maglev(all).table);
        let others = before.iter().zip(&after).filter(|(was, is)| **was != gone && was != is).count();
        let share = others as f64 / f64::from(SLOTS);
        assert!(share <= 0.01, "{share} of all slots moved between backends that stayed");
    }
}

#[test]
fn availability_reuses_the_table_and_weights_do_not() {
    let mut all = members(&[1, 2, 3]);
    let before = maglev(all.clone());
    all[1].available = false;
    all.reverse();
    let flapped = Maglev::new(PLAIN, all.clone(), Some(&before));
    assert!(Arc::ptr_eq(&before.table, &flapped.table));
    all[0].weight = 9;
    let reweighted = Maglev::new(PLAIN, all, Some(&before));
    assert!(!Arc::ptr_eq(&before.table, &reweighted.table));
}

#[test]
fn one_too_light_for_a_slot_serves_when_it_is_alone() {
    let mut all = members(&[65_535; 40]);
    all.push(member(40, 1));
    let picker = maglev(all.clone());
    let light = picker.members.iter().position(|member| member.position == 40).unwrap();
    assert_eq!(shares(&picker.table)[light], 0);
    all.iter_mut().take(40).for_each(|member| member.available = false);
    let picker = Maglev::new(PLAIN, all, Some(&picker));
    assert!((0..100).all(|index| picker.pick(request(client(index))) == Some(40)));
}

/// One client that opens all the sessions would pile them on one backend; the bound spreads them.
#[test]
fn no_backend_exceeds_its_bound() {
    for (factor, weights) in [(1.0, [1, 1, 1, 1]), (1.25, [1, 1, 1, 1]), (1.25, [1, 2, 3, 10]), (3.0, [1, 2, 3, 10])] {
        let hashing = Hashing { key: HashKey::SourceIp, bounded_load: Some(factor) };
        let all = members(&weights);
        let picker = Maglev::new(hashing, all.clone(), None);
        let total_weight = f64::from(weights.iter().sum::<u16>());
        let mut leases: Vec<Lease> = Vec::new();
        for _ in 0..400 {
            let picked = &all[usize::from(picker.pick(request(42)).unwrap())];
            leases.push(picked.load.lease());
            let fair = leases.len() as f64 * f64::from(picked.weight) / total_weight;
            let bound = (factor * fair - 1e-9).ceil();
            assert!(f64::from(picked.load.active()) <= bound, "{} sessions, bound {bound}", picked.load.active());
        }
    }
}

#[test]
fn the_bound_leaves_clients_alone_while_loads_are_even() {
    let hashing = Hashing { bounded_load: Some(1.25), ..PLAIN };
    let all = members(&[1; 4]);
    let _leases: Vec<Lease> = all.iter().flat_map(|member| (0..100).map(|_| member.load.lease())).collect();
    let (bounded, plain) = (Maglev::new(hashing, all.clone(), None), maglev(all));
    assert!((0..10_000).all(|index| bounded.pick(request(client(index))) == plain.pick(request(client(index)))));
}

#[test]
fn when_all_who_are_left_are_over_the_bound_the_least_busy_is_picked() {
    let hashing = Hashing { bounded_load: Some(1.0), ..PLAIN };
    let all = members(&[1, 1, 2]);
    let _leases: Vec<Lease> = [(1, 50), (2, 60)]
        .into_iter()
        .flat_map(|(index, count): (usize, usize)| vec![index; count])
        .map(|index| all[index].load.lease())
        .collect();
    let picker = Maglev::new(hashing, all, None);
    for index in 0..100 {
        let key = client(index);
        assert_eq!(picker.pick(request(key)), Some(0), "the only one with room");
        assert_eq!(
            picker.pick(Request { tried: &[0], ..request(key) }),
            Some(2),
            "61 for a weight of 2 is less than 51"
        );
        assert_eq!(picker.pick(Request { tried: &[0, 2], ..request(key) }), Some(1));
    }
}

proptest! {
    #[test]
    fn positions_do_not_matter(
        mut order in Just((0..12).collect::<Vec<usize>>()).prop_shuffle(),
        kept in 1..12usize,
        keys in prop::collection::vec(any::<u64>(), 50),
        down in 0..12usize,
    ) {
        order.truncate(kept);
        let build = |order: &[usize]| -> Vec<Member> {
            order.iter().map(|index| Member { available: *index != down, ..member(*index, if *index < 6 { 1 } else { 3 }) }).collect()
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let (shuffled, plain) = (maglev(build(&order)), maglev(build(&sorted)));
        prop_assert_eq!(&shuffled.table.slots, &plain.table.slots);
        for key in keys {
            let name = |picker: &Maglev, order: &[usize]| picker.pick(request(key)).map(|at| order[usize::from(at)]);
            prop_assert_eq!(name(&shuffled, &order), name(&plain, &sorted));
        }
    }
}

/// The backends of the golden vectors, as a configuration would name them.
fn golden_members() -> Vec<Member> {
    [("10.0.0.11:5432", 1), ("10.0.0.12:5432", 2), ("db3", 1), ("[2001:db8::4]:5432", 3), ("unix:/run/five", 1)]
        .into_iter()
        .map(|(name, weight)| Member { key: hash(name.as_bytes(), 0), ..member(0, weight) })
        .collect()
}

/// A change here means that after an upgrade clients land on other backends than before it.
#[test]
fn golden_vectors() {
    let picks = |picker: &Picker| -> String {
        let digit = |index| char::from_digit(u32::from(picker.pick(request(client(index))).unwrap()), 10).unwrap();
        (0..64).map(digit).collect()
    };
    let mut all = golden_members();
    let picker = Picker::build(MAGLEV, all.clone(), None);
    let slots: Vec<u8> = maglev(all.clone()).table.slots.iter().flat_map(|rank| rank.to_le_bytes()).collect();
    assert_eq!(hash(&slots, 0), 0x83fc_a8f7_bab2_f027, "the table");
    assert_eq!(picks(&picker), "4232212130321302332123213333332114133130300301114323313030220131", "the first choice");
    all[3].available = false;
    let down = Picker::build(MAGLEV, all.clone(), Some(&picker));
    assert_eq!(picks(&down), "4212212110221102042121210110112114122100100401114424114010220111", "the second choice");
    let _leases: Vec<Lease> = (0..3).map(|_| all[1].load.lease()).collect();
    let bounded = Policy::Maglev(Hashing { bounded_load: Some(1.25), ..PLAIN });
    let bounded = Picker::build(bounded, all, Some(&down));
    let golden = "4242242000222402042424240420422004022200000402244424024040220000";
    assert_eq!(picks(&bounded), golden, "the choice within a bound");
    bounded.activate();
    assert_eq!(picks(&bounded), golden, "the choice within a bound, with the sessions from the index");
}
