//! Balancing: a [`Policy`] is configured, a [`Picker`] is built from it and picks.
//!
//! The control plane builds a picker whenever the members of a pool or their availability change, activates it, and
//! publishes it inside a snapshot that all workers share. A picker does no I/O and reads no clock. What must outlive it
//! (sessions and latency) lives in each member's [`Load`]. A pick happens once a session and allocates nothing.
//!
//! ```text
//! round_robin        the next one              of one `rotation` for all workers
//! least_connections  the least busy            by the `cost` of one more session: reads every load, or with many members
//!                                              asks the `load_index`
//! power_of_two       the less busy of two      drawn from the `weighted_candidates`
//! least_latency      the fastest for its load  by `latency`: of few members all, of many two `weighted_candidates`
//! random             any                       drawn from the `weighted_candidates`
//! maglev             the client's own          owner of its slot in a table that is filled in `rotation`
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

/// The structure that picks: built without any effect, then activated and published, then replaced.
#[derive(Debug)]
pub enum Picker {
    /// All in turn, by weight.
    RoundRobin(RoundRobin),
    /// The fewest sessions for its weight.
    LeastConnections(LeastConnections),
    /// The less busy of two.
    PowerOfTwo(PowerOfTwo),
    /// The one that is likely to answer first.
    LeastLatency(LeastLatency),
    /// Any, by weight.
    Random(Random),
    /// Consistent hashing.
    Maglev(Maglev),
}

impl Picker {
    /// Builds a picker over `members`, whose keys all differ. Nothing that is in force changes.
    ///
    /// `previous` is the picker that this one replaces: a rotation goes on where it was, and an expensive table is reused
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

    /// Makes the members' loads report to the load index of this picker, and no longer to that of the picker it replaces.
    /// Does nothing the second time, and nothing for a policy without an index.
    ///
    /// No pick goes by stale loads, before, during or after, by this picker or by the one it replaces, which a session may
    /// still hold: a picker reads every load itself while some of them do not report to its index, not yet or no longer.
    /// That takes longer, so the time for it is right before publishing. An index that is replaced by none goes on getting
    /// reports until its picker is dropped.
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
