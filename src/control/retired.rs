//! What was published and is no more, kept until nothing else refers to it.
//!
//! The last one to let go of something frees it. Sessions and flows hold views of pools for as long as they live, and a
//! view of thousands of backends takes a millisecond to free: by holding on to it the control plane makes sure that it
//! is never a worker that does so.

use std::sync::Arc;

use crate::config::Config;
use crate::pool::snapshot::Snapshot;
use crate::pool::view::PoolView;

/// Views and configurations that may still be in use. There are no more of them than sessions hold anyway.
#[derive(Debug, Default)]
pub(super) struct Retired {
    pools: Vec<Arc<PoolView>>,
    configs: Vec<Arc<Config>>,
}

impl Retired {
    /// Takes what `old` has and `new`, which replaces it, has not.
    pub(super) fn keep(&mut self, old: &Snapshot, new: &Snapshot) {
        let replaced =
            old.pools.iter().filter(|(name, view)| new.pools.get(*name).is_none_or(|new| !Arc::ptr_eq(view, new)));
        self.pools.extend(replaced.map(|(_, view)| Arc::clone(view)));
        if !Arc::ptr_eq(&old.config, &new.config) {
            self.configs.push(Arc::clone(&old.config));
        }
    }

    /// Frees what nothing else refers to. No new reference can appear: it is not published any more.
    pub(super) fn free_unused(&mut self) {
        self.pools.retain(|view| Arc::strong_count(view) > 1);
        self.configs.retain(|config| Arc::strong_count(config) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Machine, PoolName};

    fn snapshot(config: &Arc<Config>, pools: &[(&str, &Arc<PoolView>)]) -> Snapshot {
        let pools = pools.iter().map(|(name, view)| (PoolName::from(*name), Arc::clone(view)));
        Snapshot { config: Arc::clone(config), pools: pools.collect(), ..Snapshot::empty(config) }
    }

    fn config() -> Arc<Config> {
        let text = "[listeners.l]\nbind = [\"127.0.0.1:1\"]\npool = \"p\"\n[pools.p]\nbackends = [\"127.0.0.1:2\"]\n";
        let machine = Machine { descriptor_limit: 10_000, ephemeral_ports: 28_232, cpus: std::num::NonZeroUsize::MIN };
        Arc::new(Config::parse("test.toml", text, &machine).expect("valid"))
    }

    fn view(config: &Config) -> Arc<PoolView> {
        let (name, pool) = config.pools.first_key_value().expect("there is one");
        Arc::new(PoolView::build(name.clone(), Arc::new(pool.clone()), Vec::new(), None))
    }

    #[test]
    fn what_a_session_holds_is_freed_here_and_not_there() {
        let (config, later) = (config(), config());
        let (kept, replaced, replacement) = (view(&config), view(&config), view(&config));
        let old = snapshot(&config, &[("a", &kept), ("b", &replaced)]);
        let new = snapshot(&later, &[("a", &kept), ("b", &replacement)]);
        let (of_session, of_worker) = (Arc::downgrade(&replaced), Arc::downgrade(&config));
        let mut retired = Retired::default();
        retired.keep(&old, &new);
        drop((old, config));

        retired.free_unused();
        assert_eq!(retired.pools.len(), 1, "the session still has it, and the one that stayed is not retired");
        assert!(retired.configs.is_empty() && of_worker.upgrade().is_none());

        // The session lets go, and that frees nothing.
        drop(replaced);
        assert!(of_session.upgrade().is_some());
        retired.free_unused();
        assert!(of_session.upgrade().is_none());
    }
}
