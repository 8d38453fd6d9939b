//! How many sessions and flows the descriptors and ports of this machine can hold.

use std::num::NonZeroU32;

use crate::config::types::{Listener, MAX_PROBES_IN_FLIGHT, Machine, Protocol};

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

/// The descriptors there are, and those that sessions cannot have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    limit: u64,
    reserve: u64,
    ports: u64,
}

/// What the file asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// The process's bound on sessions, if there is one.
    pub(super) sessions: Option<NonZeroU32>,
    /// The largest bound of a TCP listener, of those that have one.
    pub(super) sessions_of_a_listener: Option<NonZeroU32>,
    /// Whether anybody has sessions.
    pub(super) has_tcp: bool,
    /// Flows of the UDP listeners that say how many, together.
    pub(super) flows: u64,
    /// UDP listeners that do not.
    pub(super) flows_unsaid: u64,
}

/// What sessions, flows and pipes may have each; together they fit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Of the process.
    pub(super) sessions: NonZeroU32,
    /// Of each UDP listener that does not say.
    pub(super) flows_each: NonZeroU32,
    /// Of the splice tier.
    pub(super) pipes: usize,
}

impl Demand {
    /// Sessions that there must be room for, whatever the flows get.
    pub(super) fn sessions_at_least(&self) -> u64 {
        self.sessions.or(self.sessions_of_a_listener).map_or(1, |sessions| u64::from(sessions.get()))
    }
}

/// Descriptors that each worker has for the addresses of a listener: a socket for each, and beside one for datagrams an
/// event queue (epoll) that the sockets of its flows are in.
pub(super) fn descriptors_of_a_worker(listener: &Listener) -> usize {
    match listener.protocol {
        Protocol::Tcp(_) => listener.bind.len(),
        Protocol::Udp(_) => listener.bind.len().saturating_mul(2),
    }
}

impl Budget {
    /// `of_a_worker` are the [`descriptors_of_a_worker`] of all listeners; `backends` and `udp_listeners`, of which
    /// each has a flow at least, are those of the whole configuration.
    pub(super) fn new(
        machine: &Machine,
        workers: usize,
        of_a_worker: usize,
        backends: usize,
        udp_listeners: usize,
    ) -> Self {
        let sockets = (workers as u64).saturating_mul(of_a_worker as u64);
        let probes = backends.min(MAX_PROBES_IN_FLIGHT) as u64;
        let reserve = sockets.saturating_add(RESERVE + probes).saturating_add(udp_listeners as u64);
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
    pub(super) fn flows_at_most(&self, demand: &Demand) -> u64 {
        self.limit.saturating_sub(self.limit_for(demand.sessions_at_least()))
    }

    /// Shares the descriptors out. What the file says, it gets; half of the rest is for sessions and half for flows, if
    /// somebody has each without saying how many; a sixteenth is left for pipes.
    pub(super) fn share(&self, demand: &Demand) -> Shares {
        let sessions = demand.sessions.unwrap_or_else(|| self.default_sessions(demand));
        let after_sessions = self.limit.saturating_sub(self.limit_for(u64::from(sessions.get())));
        let free = after_sessions.saturating_sub(demand.flows);
        let flows = (free - free / 16).min(self.default_ports(demand)).checked_div(demand.flows_unsaid).unwrap_or(0);
        let pipes = free.saturating_sub(flows * demand.flows_unsaid) / DESCRIPTORS_PER_PIPE;
        Shares {
            sessions,
            flows_each: u32::try_from(flows).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
            pipes: usize::try_from(pipes.min(MAX_PIPES)).unwrap_or(usize::MAX),
        }
    }

    /// Ports for the flows of listeners that do not say. What others say may be more than there are: it is a bound, the
    /// range may be widened while the program runs, and only the log remarks on it.
    fn default_ports(&self, demand: &Demand) -> u64 {
        let spare = self.ports / SPARE_PORTS;
        (self.ports - spare).saturating_sub(demand.flows).max(spare)
    }

    /// Sessions of the process when the file does not say: fifteen in sixteen of the descriptors that are theirs, and
    /// never less than a listener was promised.
    fn default_sessions(&self, demand: &Demand) -> NonZeroU32 {
        let free = u128::from(self.limit.saturating_sub(self.reserve).saturating_sub(demand.flows));
        let share = match (demand.has_tcp, demand.flows_unsaid) {
            (true, 0) => free * 15 / 32,
            (true, _) => free * 15 / 64,
            (false, _) => 0,
        };
        let promised = demand.sessions_at_least().min(self.sessions_at_most());
        let sessions = u64::try_from(share).unwrap_or(u64::MAX).max(promised);
        NonZeroU32::new(u32::try_from(sessions).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    const TCP: Demand =
        Demand { sessions: None, sessions_of_a_listener: None, has_tcp: true, flows: 0, flows_unsaid: 0 };

    fn budget(descriptor_limit: u64) -> Budget {
        let machine = Machine { descriptor_limit, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
        Budget::new(&machine, 2, 3, 100, 0)
    }

    fn sessions(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("not zero")
    }

    /// Sessions, flows of each listener, pipes.
    fn shares(budget: &Budget, demand: &Demand) -> (u32, u32, usize) {
        let shares = budget.share(demand);
        (shares.sessions.get(), shares.flows_each.get(), shares.pipes)
    }

    #[test]
    fn the_reserve_covers_sockets_probes_and_a_flow_each() {
        assert_eq!(budget(1024).reserve, 64 + 2 * 3 + 64);
        let machine = Machine { descriptor_limit: 1024, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
        assert_eq!(Budget::new(&machine, 2, 3, 100, 2).reserve, 64 + 2 * 3 + 64 + 2);
    }

    #[test]
    fn descriptors_are_shared_between_sessions_and_pipes() {
        let budget = budget(20_134);
        assert_eq!(shares(&budget, &TCP), (9_375, 1, 625));
        assert_eq!(shares(&budget, &Demand { sessions_of_a_listener: Some(sessions(9_900)), ..TCP }), (9_900, 1, 100));
        let too_many = Demand { sessions_of_a_listener: Some(sessions(1_000_000)), ..TCP };
        assert_eq!(shares(&budget, &too_many), (10_000, 1, 0));
        assert_eq!(budget.limit_for(10_000), 20_134);
    }

    #[test]
    fn flows_have_half_of_what_nobody_claimed_and_all_of_it_without_tcp() {
        let budget = budget(20_134);
        let both = Demand { flows_unsaid: 2, ..TCP };
        assert_eq!(shares(&budget, &both), (4_687, 4_981, 332));
        assert_eq!(shares(&budget, &Demand { has_tcp: false, ..both }), (1, 9_374, 625));
        assert_eq!(shares(&budget, &Demand { flows: 4_000, flows_unsaid: 0, ..both }), (7_500, 1, 500));
        assert_eq!(shares(&budget, &Demand { sessions: Some(sessions(9_000)), ..both }), (9_000, 937, 63));
        let explicit = Demand { sessions: Some(sessions(9_000)), flows: 1_999, flows_unsaid: 1, ..TCP };
        assert_eq!(shares(&budget, &explicit), (9_000, 1, 0));
    }

    #[test]
    fn what_is_shared_out_always_fits() {
        for limit in (0..3_000).chain([20_134, 1 << 20, u64::MAX]) {
            for (has_tcp, flows_unsaid) in [(true, 0), (true, 1), (true, 3), (false, 1), (false, 3)] {
                let listeners = usize::try_from(flows_unsaid).expect("3 at most");
                let machine = Machine { descriptor_limit: limit, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
                let budget = Budget::new(&machine, 1, 2, 1, listeners);
                let (sessions, flows, pipes) = shares(&budget, &Demand { has_tcp, flows_unsaid, ..TCP });
                let used = 2 * u64::from(sessions) + u64::from(flows) * flows_unsaid + 2 * pipes as u64;
                // The flow that each listener has at least is in the reserve, too.
                let fits = budget.reserve.saturating_add(used) <= limit.saturating_add(flows_unsaid);
                assert!(
                    fits || budget.sessions_at_most() == 0,
                    "{limit}: {sessions} sessions, {flows} flows, {pipes} pipes"
                );
            }
        }
    }

    #[test]
    fn nothing_overflows_on_an_unlimited_machine() {
        let shares = shares(&budget(u64::MAX), &Demand { flows_unsaid: 1, ..TCP });
        assert_eq!(shares, (u32::MAX, 24_703, 1024));
    }

    #[test]
    fn flows_that_nobody_counted_leave_ports_to_other_programs() {
        let each = |flows, flows_unsaid| shares(&budget(1 << 20), &Demand { flows, flows_unsaid, ..TCP }).1;
        assert_eq!([each(0, 1), each(0, 2), each(4_703, 2)], [24_703, 12_351, 10_000]);
        assert_eq!(each(60_000, 1), 3_529, "whoever says too much does not take all");
    }

    #[test]
    fn a_tiny_limit_holds_nothing() {
        assert_eq!(budget(10).sessions_at_most(), 0);
        assert_eq!(budget(10).limit_for(1), 136);
    }
}
