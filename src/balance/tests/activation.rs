//! Pickers that are built, activated and replaced while sessions begin and end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use arc_swap::ArcSwap;

use super::*;

/// More than a search goes through when there is an index.
const MANY: usize = 40;

/// At this bound only members below the mean have room.
const EVEN: Policy = Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: Some(1.0) });

fn loads_of(members: &[Member]) -> Vec<Arc<Load>> {
    members.iter().map(|member| Arc::clone(&member.load)).collect()
}

/// Two sessions for every member and one for a single member, which is the one to pick.
#[track_caller]
fn assert_sees_true_loads(picker: &Picker, loads: &[Arc<Load>], when: &str) {
    let mut leases: Vec<_> = loads.iter().map(|load| (load.lease(), Some(load.lease()))).collect();
    for idle in [3, 17, 39] {
        leases[idle].1 = None;
        let picks: Vec<_> = (0..5).filter_map(|key| picker.pick(request(key))).map(usize::from).collect();
        assert_eq!(picks, [idle; 5], "{when}");
        leases[idle].1 = Some(loads[idle].lease());
    }
}

#[test]
fn a_picker_sees_true_loads_at_every_stage() {
    for policy in [Policy::LeastConnections, EVEN] {
        let all = members(&[1; MANY]);
        let loads = loads_of(&all);
        let busy: Vec<_> = loads.iter().cycle().take(10 * MANY).map(Load::lease).collect();
        let old = Picker::build(policy, all.clone(), None);
        old.activate();
        let new = Picker::build(policy, all.clone(), Some(&old));
        drop(busy);
        assert_sees_true_loads(&old, &loads, "the old one, while the new one is built");
        assert_sees_true_loads(&new, &loads, "the new one, not yet activated");
        drop(Picker::build(policy, all.clone(), Some(&old)));
        assert_sees_true_loads(&old, &loads, "the old one, after another was built and thrown away");
        new.activate();
        assert_sees_true_loads(&new, &loads, "the new one, activated");
        assert_sees_true_loads(&old, &loads, "the old one, replaced");
        old.activate();
        assert_sees_true_loads(&new, &loads, "the new one, after the old one was activated again");
        Picker::build(Policy::Random, all, Some(&new)).activate();
        assert_sees_true_loads(&new, &loads, "the new one, replaced by another policy");
    }
}

/// Threads pick and begin and end sessions, by whatever picker is published, while one is published after the other.
#[test]
fn pickers_replaced_under_traffic_go_by_true_loads() {
    const THREADS: u64 = 3;
    const PICKS: u64 = 50_000;
    let all = members(&[1; MANY]);
    let loads = loads_of(&all);
    let build = |previous: Option<&Picker>| {
        let picker = Picker::build(Policy::LeastConnections, all.clone(), previous);
        picker.activate();
        Arc::new(picker)
    };
    let published = ArcSwap::new(build(None));
    let excess = AtomicU64::new(0);
    let mut replacements = 0;
    thread::scope(|scope| {
        let traffic = |seed| {
            let (mut random, mut sessions) = (fastrand::Rng::with_seed(seed), Vec::new());
            for key in 0..PICKS {
                let picked = published.load().pick(request(key)).map(usize::from).expect("all are available");
                let least = loads.iter().map(|load| load.active()).min().expect("there are some");
                excess.fetch_add(loads[picked].active().saturating_sub(least).into(), Ordering::Relaxed);
                sessions.push((picked, loads[picked].lease()));
                if sessions.len() > 300 {
                    let ends = random.usize(..8);
                    sessions.retain(|(member, _)| member % 8 != ends);
                }
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || traffic(seed))).collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            replacements += 1;
            let replaced = published.load_full();
            published.store(build(Some(&replaced)));
        }
    });
    let excess = excess.into_inner() as f64 / (THREADS * PICKS) as f64;
    assert!(replacements > 0);
    assert!(excess < 1.0, "the picked had {excess} sessions more than the least busy, in the mean");

    assert!(loads.iter().all(|load| load.active() == 0));
    let picker = published.load();
    let sessions = (0..3 * MANY as u64).map(|key| loads[usize::from(picker.pick(request(key)).unwrap())].lease());
    let _sessions: Vec<_> = sessions.collect();
    assert!(loads.iter().all(|load| load.active() == 3));
}
