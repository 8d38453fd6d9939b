//! Maglev: consistent hashing through a table of slots, from "Maglev: A Fast and Reliable Software Network Load
//! Balancer" (Eisenbud et al., NSDI 2016), section 3.4.
//!
//! Every member has its own permutation of the slots. The members come in weighted rotation, and each claims the first slot
//! of its permutation that is still free, until none is: so the shares of slots are by weight, too.
//!
//! The table is built from the *configured* members and says nothing of who is available. A client whose slot belongs
//! to a member that is unavailable, tried or overloaded tries further slots in an order of its own. So a backend that goes
//! down moves only its own clients, spreads them over all others by weight, and gets them back when it returns.
//!
//! Only keys and weights take part, never positions, and no floating point and no hasher that another machine may
//! have otherwise: two instances with the same configuration pick the same.

mod bounded_load;
mod table;

use std::sync::Arc;

use self::bounded_load::{BoundedLoad, LoadLimit};
use self::table::Table;
use super::cost::Cost;
use super::load::Load;
use super::load_index::LoadIndex;
use super::member::Member;
use super::position::positioned;
use super::request::Request;
use crate::config::Hashing;
use crate::hash::hash;

const CLIENT_PREFERENCE_SEED: u64 = 0x6d61_676c_6576_0005;

/// A table of slots and who may be picked from it now.
#[derive(Debug)]
pub struct Maglev {
    table: Arc<Table>,
    /// The members of the table, by rank.
    members: Vec<RankedMember>,
    /// With the index that counts the sessions of the available members.
    bounded_load: Option<(BoundedLoad, Arc<LoadIndex>)>,
}

/// A member with weight.
#[derive(Debug)]
struct RankedMember {
    key: u64,
    load: Arc<Load>,
    weight: u16,
    position: u16,
    available: bool,
}

impl Maglev {
    /// A picker over `members`. The table of `previous` serves again when keys and weights are the same.
    pub(super) fn new(hashing: Hashing, members: Vec<Member>, previous: Option<&Self>) -> Self {
        let members = ranked(members);
        let keys: Vec<(u64, u16)> = members.iter().map(|member| (member.key, member.weight)).collect();
        let table = match previous {
            Some(previous) if previous.table.members == keys => Arc::clone(&previous.table),
            _ => Arc::new(Table::new(keys)),
        };
        let bounded_load = hashing.bounded_load.map(|factor| {
            let weights = || available(&members).map(|member| member.weight);
            (BoundedLoad::new(factor, weights()), Arc::new(LoadIndex::new(weights())))
        });
        Self { table, members, bounded_load }
    }

    /// Makes the loads of the available members report to the index.
    pub(super) fn activate(&self) {
        if let Some((_, index)) = &self.bounded_load {
            Load::register_all(available(&self.members).map(|member| &member.load), index);
        }
    }

    /// The first member in the client's order of slots that is available, untried and within the bound.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        let limit = self.limit();
        let is_open = |member: &RankedMember| member.available && !request.has_tried(member.position);
        let accepts = |member: &RankedMember| is_open(member) && limit.is_none_or(|limit| member.has_room(limit));
        let member = self
            .find(request.key, accepts)
            .or_else(|| self.most_preferred(request.key, accepts))
            .or_else(|| self.least_busy(request.key, is_open))?;
        Some(member.position)
    }

    /// The bound as it is now, if there is one.
    fn limit(&self) -> Option<LoadLimit> {
        let (bounded_load, index) = self.bounded_load.as_ref()?;
        let active = if index.is_current() {
            index.sessions()
        } else {
            available(&self.members).map(|member| u64::from(member.load.active())).sum()
        };
        Some(bounded_load.limit(active))
    }

    /// The owner of the first slot of this client that is accepted.
    fn find(&self, key: u64, accepts: impl Fn(&RankedMember) -> bool) -> Option<&RankedMember> {
        let member = |rank: u16| &self.members[usize::from(rank)];
        self.table.find(key, |rank| accepts(member(rank))).map(member)
    }

    /// The one this client prefers to all others, when its slots did not help: few are available, or they are too light for
    /// a slot.
    fn most_preferred(&self, key: u64, accepts: impl Fn(&RankedMember) -> bool) -> Option<&RankedMember> {
        self.members.iter().filter(|member| accepts(member)).max_by_key(|member| member.preference_of(key))
    }

    /// Where the bound hurts least, once all members have reached it: those with room were tried already.
    fn least_busy(&self, key: u64, is_open: impl Fn(&RankedMember) -> bool) -> Option<&RankedMember> {
        self.members
            .iter()
            .filter(|member| is_open(member))
            .min_by_key(|member| (Cost::of_one_more(member.load.active(), member.weight), member.preference_of(key)))
    }
}

impl RankedMember {
    fn has_room(&self, limit: LoadLimit) -> bool {
        limit.has_room(self.load.active(), self.weight)
    }

    /// How much this client prefers it to others (rendezvous hashing).
    fn preference_of(&self, client: u64) -> u64 {
        let mut pair = [0; 16];
        pair[..8].copy_from_slice(&self.key.to_le_bytes());
        pair[8..].copy_from_slice(&client.to_le_bytes());
        hash(&pair, CLIENT_PREFERENCE_SEED)
    }
}

/// Those of `members` that have weight, in the order of their keys.
fn ranked(members: Vec<Member>) -> Vec<RankedMember> {
    let mut ranked: Vec<RankedMember> = positioned(members)
        .filter(|(_, member)| member.weight > 0)
        .map(|(position, Member { key, weight, available, load })| RankedMember {
            key,
            load,
            weight,
            position,
            available,
        })
        .collect();
    ranked.sort_unstable_by_key(|member| member.key);
    ranked
}

/// Those that may be picked now.
fn available(members: &[RankedMember]) -> impl Iterator<Item = &RankedMember> {
    members.iter().filter(|member| member.available)
}

#[cfg(test)]
mod tests;
