//! Which backend serves a session or a flow: what the pool's policy picks, one backend after the other, until one will do.
//!
//! The policy knows the pool as it was when its view was made. A backend that has gone down since is passed over here. One
//! whose machine has just refused a datagram comes last or not at all, where that is asked for. No backend comes up twice.

use std::sync::Arc;

use crate::balance::Request;
use crate::pool::backend::BackendState;
use crate::pool::health::Health;
use crate::pool::view::{BackendView, PoolView};

/// What becomes of backends whose machine has just refused a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusing {
    /// They are as good as any other: a connect finds out by itself.
    Equal,
    /// One of them is selected, after all others.
    Last,
    /// None of them is selected.
    Excluded,
}

/// The backends that a session or a flow may try, in the order in which it should.
#[derive(Debug)]
pub struct Selection<'a> {
    pool: &'a PoolView,
    key: u64,
    refusing: Refusing,
    /// Backends that were selected or passed over, by position.
    tried: Vec<u16>,
    /// The first of those that come last.
    last: Option<&'a BackendView>,
}

impl<'a> Selection<'a> {
    /// A selection for a client that hashes to `key` (see [`PoolView::key_of`]).
    pub fn new(pool: &'a PoolView, key: u64, refusing: Refusing) -> Self {
        Self::reusing(Vec::new(), pool, key, refusing)
    }

    /// As [`Selection::new`], with the memory of an earlier one, so that nothing is allocated in the long run.
    pub fn reusing(mut memory: Vec<u16>, pool: &'a PoolView, key: u64, refusing: Refusing) -> Self {
        memory.clear();
        Self { pool, key, refusing, tried: memory, last: None }
    }

    /// Leaves out a backend that has been tried already.
    pub fn exclude(&mut self, backend: &Arc<BackendState>) {
        let position = self.pool.backends.iter().position(|view| Arc::ptr_eq(&view.state, backend));
        self.tried.extend(position.and_then(|index| u16::try_from(index).ok()));
    }

    /// The next backend to try; `None` when there is none left. `random` is any word, another one each time.
    pub fn next(&mut self, now_ms: u64, random: u64) -> Option<&'a BackendView> {
        loop {
            // What is left to chance is left to another word with each pick.
            let random = random.wrapping_add(self.tried.len() as u64);
            let request = Request { key: self.key, tried: &self.tried, now_ms, random };
            let Some((position, backend)) = self.pool.pick(request) else { return self.last.take() };
            self.tried.push(position);
            if backend.state.health() == Health::Down {
                continue;
            }
            if self.refusing == Refusing::Equal || !backend.state.refuses(now_ms) {
                return Some(backend);
            }
            if self.refusing == Refusing::Last {
                self.last.get_or_insert(backend);
            }
        }
    }

    /// The memory, for the next selection.
    pub fn into_memory(self) -> Vec<u16> {
        self.tried
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use crate::config::{self, HashKey, Hashing, OnDown, Policy, Priority};
    use crate::pool::backend::{BackendKey, Endpoint};
    use crate::pool::health::AdminState;

    const NOW_MS: u64 = 1_000_000;

    const POLICIES: [Policy; 6] = [
        Policy::RoundRobin,
        Policy::LeastConnections,
        Policy::PowerOfTwo,
        Policy::LeastLatency,
        Policy::Random,
        Policy::Maglev(Hashing { key: HashKey::SourceIp, bounded_load: None }),
    ];

    fn pool(policy: Policy, backends: u16) -> PoolView {
        let config = config::Pool {
            policy,
            connect_timeout: Duration::from_secs(2),
            connect_attempts: NonZeroU16::MIN,
            backends: Vec::new(),
            health_check: None,
            passive_check: None,
            on_down: OnDown::Keep,
        };
        let backend = |index: u16| BackendView {
            state: Arc::new(BackendState::new(
                BackendKey { pool: "pool".into(), backend: index.to_string().as_str().into() },
                1,
                Health::Up,
            )),
            endpoint: Some(Endpoint::Inet(([127, 0, 0, 1], index + 1).into())),
            weight: 1,
            priority: Priority::Regular,
            admin: AdminState::Ready,
            health: Health::Up,
        };
        PoolView::build("pool".into(), Arc::new(config), (0..backends).map(backend).collect(), None)
    }

    /// The names of all that are selected, in order.
    fn selected(mut selection: Selection<'_>) -> Vec<usize> {
        let mut words = fastrand::Rng::with_seed(7);
        std::iter::from_fn(|| selection.next(NOW_MS, words.u64(..)))
            .map(|backend| backend.state.key.backend.as_str().parse().expect("named by their position"))
            .collect()
    }

    fn set(names: &[usize]) -> HashSet<usize> {
        names.iter().copied().collect()
    }

    #[test]
    fn every_backend_comes_up_once() {
        for policy in POLICIES {
            let pool = pool(policy, 5);
            let names = selected(Selection::new(&pool, 1, Refusing::Last));
            assert_eq!((names.len(), set(&names)), (5, set(&[0, 1, 2, 3, 4])), "{policy:?}");
        }
    }

    #[test]
    fn those_that_went_down_after_the_view_was_made_are_passed_over() {
        for policy in POLICIES {
            let pool = pool(policy, 5);
            for down in [1, 3] {
                pool.backends[down].state.publish_health(Health::Down);
            }
            for refusing in [Refusing::Equal, Refusing::Last, Refusing::Excluded] {
                let names = selected(Selection::new(&pool, 1, refusing));
                assert_eq!((names.len(), set(&names)), (3, set(&[0, 2, 4])), "{policy:?}, {refusing:?}");
            }
        }
    }

    #[test]
    fn those_that_refuse_come_last_or_not_at_all_where_that_is_asked_for() {
        for policy in POLICIES {
            let pool = pool(policy, 4);
            for refusing in [0, 2] {
                pool.backends[refusing].state.note_refusal(NOW_MS);
            }
            assert_eq!(set(&selected(Selection::new(&pool, 1, Refusing::Equal))), set(&[0, 1, 2, 3]), "{policy:?}");
            assert_eq!(set(&selected(Selection::new(&pool, 1, Refusing::Excluded))), set(&[1, 3]), "{policy:?}");
            let names = selected(Selection::new(&pool, 1, Refusing::Last));
            assert_eq!((names.len(), set(&names[..2])), (3, set(&[1, 3])), "{policy:?}");
            assert!([0, 2].contains(&names[2]), "{policy:?}");
        }
    }

    #[test]
    fn where_all_refuse_one_is_selected_unless_none_is_to_be() {
        let pool = pool(Policy::RoundRobin, 3);
        pool.backends.iter().for_each(|backend| backend.state.note_refusal(NOW_MS));
        assert_eq!(selected(Selection::new(&pool, 1, Refusing::Last)).len(), 1);
        assert_eq!(selected(Selection::new(&pool, 1, Refusing::Excluded)).len(), 0);
    }

    #[test]
    fn what_is_excluded_does_not_come_up_and_memory_remembers_nothing() {
        let pool = pool(Policy::Random, 3);
        let mut selection = Selection::new(&pool, 1, Refusing::Last);
        selection.exclude(&pool.backends[1].state);
        let stranger = BackendKey { pool: "another".into(), backend: "0".into() };
        selection.exclude(&Arc::new(BackendState::new(stranger, 1, Health::Up)));
        while selection.next(NOW_MS, 1).is_some() {}
        let memory = selection.into_memory();
        assert_eq!(memory.len(), 3, "the excluded one and the two that came up");
        let capacity = memory.capacity();
        let again = Selection::reusing(memory, &pool, 1, Refusing::Last);
        assert_eq!(again.tried.capacity(), capacity);
        assert_eq!(set(&selected(again)), set(&[0, 1, 2]));
    }
}
