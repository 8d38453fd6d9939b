//! How many sessions the descriptors of this machine can hold.

use std::num::NonZeroU32;

use super::Machine;
use crate::config::MAX_PROBES_IN_FLIGHT;

/// A session is two sockets.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// A pipe has two ends.
const DESCRIPTORS_PER_PIPE: u64 = 2;

/// Descriptors of the process itself: the standard streams, event loops and wake-ups of workers, the admin side's
/// connections, and the second set of listeners while a reload replaces the first.
const RESERVE: u64 = 64;

/// Pipes of 1 MiB each are more than the splice tier of a large machine has in use at one moment; past this they would
/// only cost memory.
const MAX_PIPES: u64 = 1024;

/// The descriptors there are, and those that sessions cannot have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    limit: u64,
    reserve: u64,
}

impl Budget {
    /// `binds` and `backends` are those of the whole configuration.
    pub(super) fn new(machine: &Machine, workers: usize, binds: usize, backends: usize) -> Self {
        let sockets = (workers as u64).saturating_mul(binds as u64);
        let probes = backends.min(MAX_PROBES_IN_FLIGHT) as u64;
        Self { limit: machine.descriptor_limit, reserve: sockets.saturating_add(RESERVE + probes) }
    }

    /// The descriptors that exist.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Sessions that fit, with no pipe left to splice with.
    pub(super) fn sessions_at_most(&self) -> u64 {
        self.limit.saturating_sub(self.reserve) / DESCRIPTORS_PER_SESSION
    }

    /// The descriptor limit under which this many sessions fit.
    pub(super) fn limit_for(&self, sessions: u64) -> u64 {
        sessions.saturating_mul(DESCRIPTORS_PER_SESSION).saturating_add(self.reserve)
    }

    /// Sessions of the process when the file does not say: fifteen in sixteen descriptors, the rest for pipes, and
    /// never less than a listener was promised.
    pub(super) fn default_sessions(&self, largest_listener: Option<NonZeroU32>) -> NonZeroU32 {
        let share = u128::from(self.limit.saturating_sub(self.reserve)) * 15 / 32;
        let promised = largest_listener.map_or(1, |listener| u64::from(listener.get()));
        let promised = promised.min(self.sessions_at_most());
        let sessions = u64::try_from(share).unwrap_or(u64::MAX).max(promised);
        NonZeroU32::new(u32::try_from(sessions).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
    }

    /// Pipes that the descriptors left over by `sessions` allow.
    pub(super) fn pipes(&self, sessions: NonZeroU32) -> usize {
        let left = self.limit.saturating_sub(self.limit_for(u64::from(sessions.get())));
        usize::try_from((left / DESCRIPTORS_PER_PIPE).min(MAX_PIPES)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn budget(descriptor_limit: u64) -> Budget {
        let machine = Machine { descriptor_limit, cpus: NonZeroUsize::MIN };
        Budget::new(&machine, 2, 3, 100)
    }

    fn sessions(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("not zero")
    }

    #[test]
    fn the_reserve_covers_sockets_and_probes() {
        assert_eq!(budget(1024).reserve, 64 + 2 * 3 + 64);
    }

    #[test]
    fn descriptors_are_shared_between_sessions_and_pipes() {
        let budget = budget(20_134);
        let default = budget.default_sessions(None);
        assert_eq!(default, sessions(9375));
        assert_eq!(budget.pipes(default), 625);
        assert_eq!(budget.default_sessions(Some(sessions(9_900))), sessions(9_900));
        assert_eq!(budget.default_sessions(Some(sessions(1_000_000))), sessions(10_000));
        assert_eq!(budget.pipes(sessions(10_000)), 0);
        assert_eq!(budget.limit_for(10_000), 20_134);
    }

    #[test]
    fn nothing_overflows_on_an_unlimited_machine() {
        let budget = budget(u64::MAX);
        assert_eq!(budget.default_sessions(None), NonZeroU32::MAX);
        assert_eq!(budget.pipes(NonZeroU32::MAX), 1024);
    }

    #[test]
    fn a_tiny_limit_holds_nothing() {
        assert_eq!(budget(10).sessions_at_most(), 0);
        assert_eq!(budget(10).limit_for(1), 136);
    }
}
