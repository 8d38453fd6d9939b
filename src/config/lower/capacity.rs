//! How many sessions and flows the descriptors and ports of this machine can hold: arithmetic, and nothing else.

use std::num::NonZeroU32;

use crate::config::types::{MAX_PROBES_IN_FLIGHT, Machine};

/// A session is two sockets.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Of the ephemeral ports, what is left to other programs, and to flows of listeners that do not say how many although
/// others claim all: an eighth.
const SPARE_PORTS: u64 = 8;

/// A pipe has two ends.
const DESCRIPTORS_PER_PIPE: u64 = 2;

/// Descriptors of the process itself: the standard streams, event loops and wake-ups of workers, the admin side's
/// connections, and the second set of listeners while a reload replaces the first.
const RESERVE: u64 = 64;

/// Pipes of 1 MiB each are more than the splice tier of a large machine has in use at one moment; past this they would
/// only cost memory.
const MAX_PIPES: u64 = 1024;

/// The descriptors there are, and those that sessions and flows cannot have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    limit: u64,
    reserve: u64,
    ports: u64,
}

/// What has descriptors for itself, whatever else there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overhead {
    pub(super) workers: usize,
    /// Descriptors that each worker has for the addresses of all listeners.
    pub(super) of_a_worker: usize,
    /// Of all pools; what probes them takes descriptors.
    pub(super) backends: usize,
    /// Each may have one probe under way at least.
    pub(super) pools: usize,
    /// Each has one flow at least.
    pub(super) udp_listeners: usize,
}

/// What the file asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requested {
    /// The process's bound on sessions, if there is one.
    pub(super) sessions: Option<NonZeroU32>,
    /// The largest bound of a TCP listener, of those that have one.
    pub(super) sessions_of_a_listener: Option<NonZeroU32>,
    /// Whether there are TCP listeners.
    pub(super) has_tcp: bool,
    /// Flows of the UDP listeners that say how many, together.
    pub(super) flows: u64,
    /// UDP listeners that do not.
    pub(super) flows_unsaid: u64,
}

/// What sessions, flows and pipes may have; together they fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of the process.
    pub(super) sessions: NonZeroU32,
    /// Of each UDP listener that does not say.
    pub(super) flows_each: NonZeroU32,
    /// Of the splice tier.
    pub(super) pipes: usize,
}

impl Requested {
    /// Sessions that there must be room for, whatever the flows get.
    pub(super) fn sessions_at_least(&self) -> u64 {
        self.sessions.or(self.sessions_of_a_listener).map_or(1, |sessions| u64::from(sessions.get()))
    }
}

impl Capacity {
    /// That of `machine` beside `overhead`.
    pub(super) fn new(machine: &Machine, overhead: Overhead) -> Self {
        let sockets = (overhead.workers as u64).saturating_mul(overhead.of_a_worker as u64);
        let probes = overhead.backends.min(MAX_PROBES_IN_FLIGHT.max(overhead.pools)) as u64;
        let reserve = sockets.saturating_add(RESERVE + probes).saturating_add(overhead.udp_listeners as u64);
        Self { limit: machine.descriptor_limit, reserve, ports: machine.ephemeral_ports.into() }
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

    /// Flows that fit beside the sessions that there must be.
    pub(super) fn flows_at_most(&self, requested: &Requested) -> u64 {
        self.limit.saturating_sub(self.limit_for(requested.sessions_at_least()))
    }

    /// Divides the descriptors. What the file asks for, it gets. Half of the rest is for sessions and half for flows, if
    /// there are listeners of both that do not say how many; a sixteenth is left for pipes.
    pub(super) fn divide(&self, requested: &Requested) -> Limits {
        let sessions = requested.sessions.unwrap_or_else(|| self.default_sessions(requested));
        let after_sessions = self.limit.saturating_sub(self.limit_for(u64::from(sessions.get())));
        let free = after_sessions.saturating_sub(requested.flows);
        let flows =
            (free - free / 16).min(self.default_ports(requested)).checked_div(requested.flows_unsaid).unwrap_or(0);
        let pipes = free.saturating_sub(flows * requested.flows_unsaid) / DESCRIPTORS_PER_PIPE;
        Limits {
            sessions,
            flows_each: u32::try_from(flows).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
            pipes: usize::try_from(pipes.min(MAX_PIPES)).unwrap_or(usize::MAX),
        }
    }

    /// Ports for the flows of listeners that do not say. What others say may be more than there are: it is a bound, the
    /// range may be widened while the program runs, and only the log remarks on it.
    fn default_ports(&self, requested: &Requested) -> u64 {
        let spare = self.ports / SPARE_PORTS;
        (self.ports - spare).saturating_sub(requested.flows).max(spare)
    }

    /// Sessions of the process when the file does not say: fifteen in sixteen of the descriptors that are theirs, and
    /// never less than a listener was promised.
    fn default_sessions(&self, requested: &Requested) -> NonZeroU32 {
        let free = u128::from(self.limit.saturating_sub(self.reserve).saturating_sub(requested.flows));
        let share = match (requested.has_tcp, requested.flows_unsaid) {
            (true, 0) => free * 15 / 32,
            (true, _) => free * 15 / 64,
            (false, _) => 0,
        };
        let promised = requested.sessions_at_least().min(self.sessions_at_most());
        let sessions = u64::try_from(share).unwrap_or(u64::MAX).max(promised);
        NonZeroU32::new(u32::try_from(sessions).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    const TCP: Requested =
        Requested { sessions: None, sessions_of_a_listener: None, has_tcp: true, flows: 0, flows_unsaid: 0 };

    const OVERHEAD: Overhead = Overhead { workers: 2, of_a_worker: 3, backends: 100, pools: 1, udp_listeners: 0 };

    fn capacity(descriptor_limit: u64) -> Capacity {
        let machine = Machine { descriptor_limit, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
        Capacity::new(&machine, OVERHEAD)
    }

    fn sessions(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("not zero")
    }

    /// Sessions, flows of each listener, pipes.
    fn divided(capacity: &Capacity, requested: &Requested) -> (u32, u32, usize) {
        let limits = capacity.divide(requested);
        (limits.sessions.get(), limits.flows_each.get(), limits.pipes)
    }

    #[test]
    fn the_reserve_covers_sockets_probes_and_a_flow_each() {
        assert_eq!(capacity(1024).reserve, 64 + 2 * 3 + 64);
        let machine = Machine { descriptor_limit: 1024, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
        let overhead = Overhead { udp_listeners: 2, ..OVERHEAD };
        assert_eq!(Capacity::new(&machine, overhead).reserve, 64 + 2 * 3 + 64 + 2);
        let overhead = Overhead { backends: 1_000, pools: 100, ..OVERHEAD };
        assert_eq!(Capacity::new(&machine, overhead).reserve, 64 + 2 * 3 + 100, "each pool probes");
    }

    #[test]
    fn descriptors_are_divided_between_sessions_and_pipes() {
        let capacity = capacity(20_134);
        assert_eq!(divided(&capacity, &TCP), (9_375, 1, 625));
        assert_eq!(
            divided(&capacity, &Requested { sessions_of_a_listener: Some(sessions(9_900)), ..TCP }),
            (9_900, 1, 100)
        );
        let too_many = Requested { sessions_of_a_listener: Some(sessions(1_000_000)), ..TCP };
        assert_eq!(divided(&capacity, &too_many), (10_000, 1, 0));
        assert_eq!(capacity.limit_for(10_000), 20_134);
    }

    #[test]
    fn flows_have_half_of_what_nobody_claimed_and_all_of_it_without_tcp() {
        let capacity = capacity(20_134);
        let both = Requested { flows_unsaid: 2, ..TCP };
        assert_eq!(divided(&capacity, &both), (4_687, 4_981, 332));
        assert_eq!(divided(&capacity, &Requested { has_tcp: false, ..both }), (1, 9_374, 625));
        assert_eq!(divided(&capacity, &Requested { flows: 4_000, flows_unsaid: 0, ..both }), (7_500, 1, 500));
        assert_eq!(divided(&capacity, &Requested { sessions: Some(sessions(9_000)), ..both }), (9_000, 937, 63));
        let explicit = Requested { sessions: Some(sessions(9_000)), flows: 1_999, flows_unsaid: 1, ..TCP };
        assert_eq!(divided(&capacity, &explicit), (9_000, 1, 0));
    }

    #[test]
    fn what_is_divided_always_fits() {
        for limit in (0..3_000).chain([20_134, 1 << 20, u64::MAX]) {
            for (has_tcp, flows_unsaid) in [(true, 0), (true, 1), (true, 3), (false, 1), (false, 3)] {
                let listeners = usize::try_from(flows_unsaid).expect("3 at most");
                let machine = Machine { descriptor_limit: limit, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
                let overhead = Overhead { workers: 1, of_a_worker: 2, backends: 1, pools: 1, udp_listeners: listeners };
                let capacity = Capacity::new(&machine, overhead);
                let (sessions, flows, pipes) = divided(&capacity, &Requested { has_tcp, flows_unsaid, ..TCP });
                let used = 2 * u64::from(sessions) + u64::from(flows) * flows_unsaid + 2 * pipes as u64;
                // The flow that each listener has at least is in the reserve, too.
                let fits = capacity.reserve.saturating_add(used) <= limit.saturating_add(flows_unsaid);
                assert!(
                    fits || capacity.sessions_at_most() == 0,
                    "{limit}: {sessions} sessions, {flows} flows, {pipes} pipes"
                );
            }
        }
    }

    #[test]
    fn nothing_overflows_on_an_unlimited_machine() {
        let divided = divided(&capacity(u64::MAX), &Requested { flows_unsaid: 1, ..TCP });
        assert_eq!(divided, (u32::MAX, 24_703, 1024));
    }

    #[test]
    fn flows_that_nobody_counted_leave_ports_to_other_programs() {
        let each = |flows, flows_unsaid| divided(&capacity(1 << 20), &Requested { flows, flows_unsaid, ..TCP }).1;
        assert_eq!([each(0, 1), each(0, 2), each(4_703, 2)], [24_703, 12_351, 10_000]);
        assert_eq!(each(60_000, 1), 3_529, "whoever says too much does not take all");
    }

    #[test]
    fn a_tiny_limit_holds_nothing() {
        assert_eq!(capacity(10).sessions_at_most(), 0);
        assert_eq!(capacity(10).limit_for(1), 136);
    }
}
