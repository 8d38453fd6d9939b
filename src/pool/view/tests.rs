use std::num::NonZeroU16;
use std::time::Duration;

use super::*;
use crate::config::{HashKey, Hashing, OnDown, Policy};
use crate::pool::backend::BackendKey;

use Health::{Checking, Down, Up};
use Priority::{Backup, Regular};

const MAGLEV: Policy = Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: None });
const POLICIES: [Policy; 6] =
    [Policy::RoundRobin, Policy::LeastConnections, Policy::PowerOfTwo, Policy::LeastLatency, Policy::Random, MAGLEV];

fn request(key: u64, tried: &[u16]) -> Request<'_> {
    Request { key, tried, now_ms: 0, random: key }
}

/// Backends of weight 1, named by their position.
fn backends(states: &[(Priority, Health)]) -> Vec<BackendView> {
    (0u16..).zip(states).map(|(index, (priority, health))| backend(index, *priority, *health)).collect()
}

fn backend(index: u16, priority: Priority, health: Health) -> BackendView {
    let key = BackendKey { pool: "pool".into(), backend: format!("10.0.0.{index}:5432").as_str().into() };
    BackendView {
        state: Arc::new(BackendState::new(key, 1, health)),
        endpoint: Some(Endpoint::Inet(([10, 0, 0, 1], 5_432 + index).into())),
        weight: 1,
        priority,
        admin: AdminState::Ready,
        health,
    }
}

fn pool(policy: Policy, backends: Vec<BackendView>, previous: Option<&PoolView>) -> PoolView {
    let config = config::Pool {
        policy,
        connect_timeout: Duration::from_secs(2),
        connect_attempts: NonZeroU16::MIN,
        backends: Vec::new(),
        health_check: None,
        passive_check: None,
        on_down: OnDown::Keep,
    };
    PoolView::build("pool".into(), Arc::new(config), backends, previous)
}

/// Everyone whom some client among many is sent to.
fn reached(pool: &PoolView) -> Vec<u16> {
    let mut reached: Vec<u16> = (0..200)
        .filter_map(|client: u64| pool.pick(request(client, &[])))
        .inspect(|(index, backend)| assert!(Arc::ptr_eq(&backend.state, &pool.backends[usize::from(*index)].state)))
        .map(|(index, _)| index)
        .collect();
    reached.sort_unstable();
    reached.dedup();
    reached
}

#[test]
fn the_best_tier_that_has_anyone_is_used() {
    for (states, expected) in [
        (&[(Regular, Up), (Regular, Up), (Backup, Up)][..], &[0u16, 1][..]),
        (&[(Regular, Up), (Regular, Down), (Backup, Up)], &[0]),
        (&[(Regular, Up), (Regular, Checking), (Backup, Up)], &[0]),
        (&[(Regular, Down), (Regular, Checking), (Backup, Up), (Backup, Up)], &[2, 3]),
        (&[(Regular, Down), (Backup, Checking), (Backup, Up)], &[2]),
        (&[(Regular, Checking), (Regular, Checking), (Backup, Checking)], &[0, 1]),
        (&[(Regular, Checking), (Regular, Down), (Backup, Down)], &[0]),
        (&[(Regular, Down), (Backup, Checking), (Backup, Down)], &[1]),
        (&[(Backup, Up), (Backup, Down)], &[0]),
        (&[(Regular, Down), (Regular, Down), (Backup, Down)], &[]),
        (&[], &[]),
    ] {
        for policy in POLICIES {
            assert_eq!(reached(&pool(policy, backends(states), None)), expected, "{states:?} with {policy:?}");
        }
    }
}

#[test]
fn a_backend_without_weight_makes_no_tier() {
    for policy in POLICIES {
        let mut backends = backends(&[(Regular, Up), (Regular, Checking), (Backup, Up)]);
        backends[0].weight = 0;
        assert_eq!(reached(&pool(policy, backends, None)), [2], "{policy:?}");
    }
}

#[test]
fn a_backend_without_an_address_keeps_its_place_and_gets_nobody() {
    for policy in POLICIES {
        for health in [Checking, Up] {
            let mut backends = backends(&[(Regular, health), (Regular, Checking), (Backup, Up)]);
            backends[0].endpoint = None;
            assert_eq!(reached(&pool(policy, backends, None)), [2], "{policy:?}");
        }
    }
    let mut backends = backends(&[(Regular, Up), (Regular, Up), (Regular, Up)]);
    let homes =
        |pool: &PoolView| -> Vec<_> { (0..500).map(|key| pool.pick(request(key, &[])).map(|it| it.0)).collect() };
    let before = homes(&pool(MAGLEV, backends.clone(), None));
    backends[1].endpoint = None;
    let after = homes(&pool(MAGLEV, backends, None));
    assert!(before.iter().zip(after).all(|(was, is)| *was == is || *was == Some(1)), "only its own clients move");
}

#[test]
fn trying_on_stays_within_the_tier() {
    for policy in POLICIES {
        let pool = pool(policy, backends(&[(Regular, Up), (Regular, Checking), (Backup, Up)]), None);
        assert!(pool.pick(request(1, &[0])).is_none(), "{policy:?}");
    }
}

/// A primary that goes down moves only its own clients, and all are back where they were after everything was down.
#[test]
fn clients_come_home_after_an_outage() {
    let mut backends = backends(&[(Regular, Up), (Regular, Up), (Regular, Up), (Backup, Up)]);
    let homes =
        |pool: &PoolView| -> Vec<Option<u16>> { (0..500).map(|key| Some(pool.pick(request(key, &[]))?.0)).collect() };
    let before = pool(MAGLEV, backends.clone(), None);

    backends[1].health = Down;
    let one_down = pool(MAGLEV, backends.clone(), Some(&before));
    assert!(homes(&before).iter().zip(homes(&one_down)).all(|(was, is)| *was == is || *was == Some(1)));

    backends[0].health = Down;
    backends[2].health = Down;
    let all_down = pool(MAGLEV, backends.clone(), Some(&one_down));
    assert!(homes(&all_down).iter().all(|home| *home == Some(3)), "the backup has them all");

    backends.iter_mut().for_each(|backend| backend.health = Up);
    assert_eq!(homes(&pool(MAGLEV, backends, Some(&all_down))), homes(&before));
}
