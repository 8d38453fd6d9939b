//! Balancing: a [`Policy`] is configured, a [`Picker`] is built from it and picks.
//!
//! A picker is built by the control plane whenever the members of a pool or their availability change, and is shared
//! by all workers inside a snapshot. It does no I/O and reads no clock. What must outlive it (the number of sessions)
//! lives in each member's [`Load`]. A pick happens once a session and allocates nothing.
//!
//! ```text
//! round_robin        whose turn is it?          turns come from `rotation`, one order for all workers
//! least_connections  who is least busy?         reads every load, or with many members the `load_index`
//! power_of_two       who is less busy of two?   two drawn from the `lottery`, keeps nothing
//! least_latency      who will answer first?     a few compared by `latency`, of many two from the `lottery`
//! random             whoever it is              drawn from the `lottery`, keeps nothing
//! maglev             whose key is this?         a table filled in the order of `rotation`
//! ```
//!
//! What every policy promises: a pick is available, has weight and was not tried before, and there is a pick whenever
//! such a member exists.

mod candidate;
mod cost;
mod latency;
mod least_connections;
mod least_latency;
mod load;
mod load_index;
mod maglev;
mod member;
mod position;
mod power_of_two;
mod random;
mod request;
mod rotation;
mod round_robin;
mod split_mix;
mod weighted_candidates;
mod weighted_draw;

pub use self::latency::Latency;
use self::least_connections::LeastConnections;
use self::least_latency::LeastLatency;
pub use self::load::{Lease, Load, PendingAnswer};
use self::maglev::Maglev;
pub use self::member::Member;
use self::power_of_two::PowerOfTwo;
use self::random::Random;
pub use self::request::Request;
use self::round_robin::RoundRobin;
use crate::config::Policy;

/// The structure that picks.
#[derive(Debug)]
pub enum Picker {
    /// Smooth weighted turns.
    RoundRobin(RoundRobin),
    /// The fewest sessions for its weight.
    LeastConnections(LeastConnections),
    /// The less busy of two.
    PowerOfTwo(PowerOfTwo),
    /// The one that will answer first.
    LeastLatency(LeastLatency),
    /// Anyone.
    Random(Random),
    /// Consistent hashing.
    Maglev(Maglev),
}

impl Picker {
    /// Builds a picker over `members`, whose keys all differ. Nothing that is in force changes.
    ///
    /// `previous` is the picker that this one replaces: turns go on where they were, and an expensive table is reused
    /// when only availability changed. A position is a `u16`, so members after the 65,535th are never picked.
    pub fn build(policy: Policy, members: Vec<Member>, previous: Option<&Self>) -> Self {
        match (policy, previous) {
            (Policy::RoundRobin, Some(Self::RoundRobin(previous))) => {
                Self::RoundRobin(RoundRobin::resume(&members, previous))
            }
            (Policy::RoundRobin, _) => Self::RoundRobin(RoundRobin::new(&members)),
            (Policy::LeastConnections, _) => Self::LeastConnections(LeastConnections::new(members)),
            (Policy::PowerOfTwo, _) => Self::PowerOfTwo(PowerOfTwo::new(members)),
            (Policy::LeastLatency, _) => Self::LeastLatency(LeastLatency::new(members)),
            (Policy::Random, _) => Self::Random(Random::new(members)),
            (Policy::Maglev(hashing), Some(Self::Maglev(previous))) => {
                Self::Maglev(Maglev::new(hashing, members, Some(previous)))
            }
            (Policy::Maglev(hashing), _) => Self::Maglev(Maglev::new(hashing, members, None)),
        }
    }

    /// Puts the picker in force: the members' loads report to its load index from now on, and no longer to that of the picker
    /// it replaces. Only policies that keep an index have something to do, and only the first time.
    ///
    /// Picks are right before, during and after, by this picker and by the one that it replaces, for those who still have
    /// that: whose index lacks the reports of a load, not yet or no longer, reads every load instead. It takes longer, so a
    /// picker is best activated right before it is published.
    ///
    /// The index of a picker that is replaced by one without an index stays right until the replaced one is dropped.
    pub fn activate(&self) {
        match self {
            Self::LeastConnections(picker) => picker.activate(),
            Self::Maglev(picker) => picker.activate(),
            Self::RoundRobin(_) | Self::PowerOfTwo(_) | Self::LeastLatency(_) | Self::Random(_) => {}
        }
    }

    /// The position of a member that is available, has weight and is not among those tried; `None` if there is none.
    pub fn pick(&self, request: Request<'_>) -> Option<u16> {
        match self {
            Self::RoundRobin(picker) => picker.pick(request.tried),
            Self::LeastConnections(picker) => picker.pick(request.tried),
            Self::PowerOfTwo(picker) => picker.pick(request),
            Self::LeastLatency(picker) => picker.pick(request),
            Self::Random(picker) => picker.pick(request),
            Self::Maglev(picker) => picker.pick(request),
        }
    }
}

#[cfg(test)]
mod tests;
