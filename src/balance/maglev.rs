//! Maglev: consistent hashing through a table of slots, from "Maglev: A Fast and Reliable Software Network Load
//! Balancer" (Eisenbud et al., NSDI 2016), section 3.4.
//!
//! Every member has its own permutation of the slots. Members take turns, each claiming the first slot of its
//! permutation that is still free, until none is. The turns are weighted, and so are the shares.
//!
//! The table is built from the *configured* members and says nothing of who is available. A client whose slot belongs
//! to someone unavailable, tried or overloaded tries further slots in an order of its own. So a backend that goes down
//! moves only its own clients, spreads them over all others by weight, and gets them back when it returns.
//!
//! Only keys and weights take part, never positions, and no floating point and no hasher that another machine may
//! have otherwise: two instances with the same configuration pick the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cost::Cost;
use super::load::Load;
use super::load_index::LoadIndex;
use super::member::Member;
use super::position::positioned;
use super::request::Request;
use super::rotation::Rotation;
use crate::config::Hashing;
use crate::hash::hash;

/// Slots of a table: a prime, so that every stride visits all of them, and a hundred slots for each of 650 backends,
/// which keeps shares within 1 % of fair.
const SLOTS: u32 = 65_537;

/// A slot that nobody claimed yet. No rank is this high, as there are at most 65,535 members.
const FREE: u16 = u16::MAX;

/// Slots that a client tries before all members are searched: with half of all slots unusable one client in 2^64 gets
/// that far, with nine tenths one in a thousand.
const PROBES: usize = 64;

/// Parts of one in which `bounded_load` is reckoned.
const MILLION: f64 = 1_000_000.0;

const MEMBER_START_SEED: u64 = 0x6d61_676c_6576_0001;
const MEMBER_STRIDE_SEED: u64 = 0x6d61_676c_6576_0002;
const CLIENT_START_SEED: u64 = 0x6d61_676c_6576_0003;
const CLIENT_STRIDE_SEED: u64 = 0x6d61_676c_6576_0004;
const CLIENT_RANKING_SEED: u64 = 0x6d61_676c_6576_0005;

/// A table of slots and who may be picked from it now.
#[derive(Debug)]
pub struct Maglev {
    table: Arc<Table>,
    /// By rank.
    places: Vec<Place>,
    bound: Option<(Bound, Arc<LoadIndex>)>,
}

/// Who owns which slot.
#[derive(Debug)]
struct Table {
    /// Key and weight of every member, ascending; the index is its rank.
    members: Vec<(u64, u16)>,
    /// The rank of the owner of each slot; empty without members.
    slots: Vec<u16>,
}

/// A member of the table.
#[derive(Debug)]
struct Place {
    key: u64,
    load: Arc<Load>,
    weight: u16,
    position: u16,
    available: bool,
}

/// The configured multiple of the fair share.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// In millionths.
    factor: u128,
    /// Of the available members.
    total_weight: u128,
}

/// The bound at one moment.
#[derive(Debug, Clone, Copy)]
struct Limit {
    bound: Bound,
    /// Sessions of the available members and the one that is coming.
    sessions: u128,
}

impl Maglev {
    /// A picker over `members`. The table of `previous` serves again when keys and weights are the same.
    pub(super) fn new(hashing: Hashing, members: Vec<Member>, previous: Option<&Self>) -> Self {
        let mut places: Vec<Place> = positioned(members)
            .filter(|(_, member)| member.weight > 0)
            .map(|(position, Member { key, weight, available, load })| Place { key, load, weight, position, available })
            .collect();
        places.sort_unstable_by_key(|place| place.key);
        let members: Vec<(u64, u16)> = places.iter().map(|place| (place.key, place.weight)).collect();
        let table = match previous {
            Some(previous) if previous.table.members == members => Arc::clone(&previous.table),
            _ => Arc::new(Table::new(members)),
        };
        let bound = hashing.bounded_load.map(|factor| {
            let weights = available(&places).map(|place| place.weight);
            (Bound::new(factor, &places), Arc::new(LoadIndex::new(weights)))
        });
        Self { table, places, bound }
    }

    /// Has the loads of the available members report to the index.
    pub(super) fn activate(&self) {
        if let Some((_, index)) = &self.bound {
            Load::register_all(available(&self.places).map(|place| &place.load), index);
        }
    }

    /// The first member in the client's order of slots that is available, untried and within the bound.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        let limit = self.limit();
        let is_open = |place: &Place| place.available && !request.tried.contains(&place.position);
        let accepts = |place: &Place| is_open(place) && limit.is_none_or(|limit| limit.has_room(place));
        let place = self
            .probe(request.key, accepts)
            .or_else(|| self.search(request.key, accepts))
            .or_else(|| self.least_busy(request.key, is_open))?;
        Some(place.position)
    }

    /// The bound as it is now, if there is one.
    fn limit(&self) -> Option<Limit> {
        let (bound, index) = self.bound.as_ref()?;
        let sessions = if index.is_current() {
            index.sessions()
        } else {
            available(&self.places).map(|place| u64::from(place.load.active())).sum()
        };
        Some(bound.now(sessions))
    }

    /// Walks the client's permutation of the slots.
    fn probe(&self, key: u64, accepts: impl Fn(&Place) -> bool) -> Option<&Place> {
        let key = key.to_le_bytes();
        let mut slot = below(SLOTS, hash(&key, CLIENT_START_SEED));
        let place = self.at(slot)?;
        if accepts(place) {
            return Some(place);
        }
        let stride = 1 + below(SLOTS - 1, hash(&key, CLIENT_STRIDE_SEED));
        (1..PROBES).find_map(|_| {
            slot = step(slot, stride);
            self.at(slot).filter(|place| accepts(place))
        })
    }

    /// Ranks everyone for this client, whose slots did not help: few are available, or they are too light for a slot.
    fn search(&self, key: u64, accepts: impl Fn(&Place) -> bool) -> Option<&Place> {
        self.places.iter().filter(|place| accepts(place)).max_by_key(|place| place.rank_for(key))
    }

    /// Where the bound hurts least, once everyone has reached it: those with room were tried already.
    fn least_busy(&self, key: u64, is_open: impl Fn(&Place) -> bool) -> Option<&Place> {
        self.places
            .iter()
            .filter(|place| is_open(place))
            .min_by_key(|place| (Cost::of_one_more(place.load.active(), place.weight), place.rank_for(key)))
    }

    fn at(&self, slot: u32) -> Option<&Place> {
        let rank = *self.table.slots.get(index(slot))?;
        Some(&self.places[usize::from(rank)])
    }
}

impl Table {
    /// Hands out all slots, in weighted turns.
    fn new(members: Vec<(u64, u16)>) -> Self {
        if members.is_empty() {
            return Self { members, slots: Vec::new() };
        }
        let ranks = positioned(members.iter().map(|(_, weight)| *weight));
        let mut rotation = Rotation::new(ranks, &BTreeMap::new());
        let mut permutations: Vec<Permutation> = members.iter().map(|(key, _)| Permutation::new(*key)).collect();
        let mut slots = vec![FREE; index(SLOTS)];
        for _ in 0..SLOTS {
            let rank = rotation.next(&[]).expect("members is not empty");
            permutations[usize::from(rank)].claim(rank, &mut slots);
        }
        Self { members, slots }
    }
}

/// The order in which a member claims slots.
struct Permutation {
    slot: u32,
    stride: u32,
}

impl Permutation {
    fn new(key: u64) -> Self {
        let key = key.to_le_bytes();
        Self {
            slot: below(SLOTS, hash(&key, MEMBER_START_SEED)),
            stride: 1 + below(SLOTS - 1, hash(&key, MEMBER_STRIDE_SEED)),
        }
    }

    /// Claims the next free slot, of which there is one.
    fn claim(&mut self, rank: u16, slots: &mut [u16]) {
        while slots[index(self.slot)] != FREE {
            self.slot = step(self.slot, self.stride);
        }
        slots[index(self.slot)] = rank;
    }
}

impl Place {
    /// How strongly this client prefers it over others (rendezvous hashing).
    fn rank_for(&self, client: u64) -> u64 {
        let mut pair = [0; 16];
        pair[..8].copy_from_slice(&self.key.to_le_bytes());
        pair[8..].copy_from_slice(&client.to_le_bytes());
        hash(&pair, CLIENT_RANKING_SEED)
    }
}

impl Bound {
    fn new(factor: f64, places: &[Place]) -> Self {
        Self {
            // Lowering admits only finite factors of at least 1, and a float-to-integer cast saturates.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            factor: u128::from((factor * MILLION).round() as u64),
            total_weight: available(places).map(|place| u128::from(place.weight)).sum(),
        }
    }

    /// The bound while the available members have so many sessions.
    fn now(self, active: u64) -> Limit {
        Limit { bound: self, sessions: u128::from(active) + 1 }
    }
}

impl Limit {
    /// Whether one more session leaves the member within `ceil(factor * sessions * weight / total_weight)`.
    ///
    /// For integers, `active + 1 <= ceil(x / y)` is `active * y < x`, which needs no division.
    fn has_room(self, place: &Place) -> bool {
        let fair = self.bound.factor * self.sessions * u128::from(place.weight);
        u128::from(place.load.active()) * self.bound.total_weight * 1_000_000 < fair
    }
}

/// Those that may be picked now.
fn available(places: &[Place]) -> impl Iterator<Item = &Place> {
    places.iter().filter(|place| place.available)
}

/// Maps a hash evenly to `0..bound`.
fn below(bound: u32, hash: u64) -> u32 {
    u32::try_from(((hash >> 32) * u64::from(bound)) >> 32).expect("a product with less than 2^32, divided by it")
}

/// The slot one stride on, both below [`SLOTS`].
fn step(slot: u32, stride: u32) -> u32 {
    let next = slot + stride;
    if next < SLOTS { next } else { next - SLOTS }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("a usize has at least 32 bits")
}

#[cfg(test)]
mod tests;
