//! Who is let in, and who makes room: floods, other tables, and bounds that change.

use std::net::{IpAddr, SocketAddr};

use super::super::super::eviction::{BURST, PER_MS};
use super::World;
use crate::metrics::reason::DropReason;
use crate::udp::flow::{Occupancy, Rules};

/// Clients that come in one moment, now and then: more than flows may be evicted for.
const FLOOD: u64 = BURST + 100;

/// What is to be met in the end, or the simulation has shown nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Begun,
    MadeRoom,
    LeftOthersRoom,
    BoundWasLowered,
    FullOfAnswered,
    BudgetSpent,
    SourceLimit,
    Draining,
}

impl World {
    /// What is admitted of everybody, and of this client.
    pub(super) fn occupancy(&self, client: SocketAddr) -> Occupancy {
        let here = self.model.iter().map(|flow| flow.key.client.ip());
        let sources: Vec<IpAddr> = here.chain(self.elsewhere.iter().copied()).collect();
        let count = |flows: usize| u32::try_from(flows).expect("few");
        let of_source = sources.iter().filter(|source| **source == client.ip()).count();
        Occupancy { flows: count(sources.len()), of_source: count(of_source) }
    }

    /// How many flows may be evicted now: no more in any time than a burst and what that time allows.
    fn budget(&mut self) -> u64 {
        let mut evicted = 0;
        let mut budget = BURST;
        for (at_ms, count) in self.evictions.iter().rev() {
            evicted += count;
            budget = budget.min((BURST + PER_MS * (self.now_ms - at_ms)).saturating_sub(evicted));
        }
        if budget == BURST {
            self.evictions.clear();
        }
        budget
    }

    /// Asks for one more flow, and evicts others for it; whether there is a place then.
    pub(super) fn admit(&mut self, client: SocketAddr) -> bool {
        let Rules { bounds, is_draining, .. } = self.rules;
        let (before, own) = (self.occupancy(client), self.model.len());
        let unanswered = self.model.iter().filter(|flow| flow.responses == 0).count();
        let evictable = unanswered.min(usize::try_from(self.budget()).expect("small"));
        let is_full = before.flows >= bounds.flows;
        let is_source_full = bounds.flows_per_source.is_some_and(|most| before.of_source >= most);
        let evictions = match self.flows.admit(before, self.now_ms) {
            Ok(evictions) => evictions,
            Err(reason) => {
                let event = match reason {
                    DropReason::Draining if is_draining => Event::Draining,
                    DropReason::SourceLimit if is_source_full => Event::SourceLimit,
                    DropReason::TableFull if is_full && unanswered == 0 => Event::FullOfAnswered,
                    DropReason::TableFull if is_full && evictable == 0 => Event::BudgetSpent,
                    _ => panic!("refused for {reason:?}, but there is room: {before:?}, {evictable} evictable"),
                };
                self.events.insert(event);
                return false;
            }
        };
        assert!(!is_draining && !is_source_full, "let in against the rules");
        assert!(evictions <= evictable, "more than there are, or than may be evicted");
        let needed = usize::from(is_full);
        let is_large = own - needed > (bounds.flows / bounds.tables) as usize;
        // It is in, and the others have this.
        let free = bounds.flows.saturating_sub(before.flows + u32::from(!is_full));
        let each_of_the_others = bounds.tables.min(bounds.flows / 8).saturating_sub(1);
        let wanted = if is_large && free < each_of_the_others { 2 } else { needed };
        assert_eq!(evictions, wanted.min(evictable), "no fewer than others need, and no more");
        (0..evictions).for_each(|_| assert!(self.evict()));
        let after = self.occupancy(client);
        if after.flows >= bounds.flows {
            assert!(before.flows > bounds.flows, "no place was made");
            self.events.insert(Event::BoundWasLowered);
            return false;
        }
        self.events.insert(match evictions {
            0 => Event::Begun,
            1 => Event::MadeRoom,
            _ => Event::LeftOthersRoom,
        });
        true
    }

    /// Other workers begin and end flows, within the same bounds.
    pub(super) fn others_change(&mut self) {
        let client = self.key().client;
        let (Occupancy { flows, of_source }, bounds) = (self.occupancy(client), self.rules.bounds);
        let has_room = flows < bounds.flows && bounds.flows_per_source.is_none_or(|most| of_source < most);
        if has_room && self.rng.bool() {
            self.elsewhere.push(client.ip());
        } else if !self.elsewhere.is_empty() {
            let one = self.rng.usize(0..self.elsewhere.len());
            self.elsewhere.swap_remove(one);
        }
    }

    /// Evicts a flow; whether there was one, and time for it.
    pub(super) fn evict(&mut self) -> bool {
        let may_be_evicted = self.budget() > 0;
        let oldest = self.model.iter().position(|flow| flow.responses == 0).filter(|_| may_be_evicted);
        let evicted = self.flows.evict(self.now_ms);
        assert_eq!(evicted.is_some(), oldest.is_some());
        if let (Some(at), Some(evicted)) = (oldest, &evicted) {
            *self.evictions.entry(self.now_ms).or_default() += 1;
            let flow = self.model.remove(at);
            self.is_over(&flow, evicted);
        }
        evicted.is_some()
    }

    /// Clients from made-up ports, each with one datagram.
    pub(super) fn flood_comes(&mut self) {
        for _ in 0..FLOOD {
            let mut key = self.key();
            key.client.set_port(self.rng.u16(5..));
            if self.flows.find(&key).is_none()
                && let Some(at) = self.begin(key)
            {
                self.forward(at, 1);
            }
        }
    }
}
