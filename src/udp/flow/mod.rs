//! The flow table: which datagram belongs to which flow, without I/O.
//!
//! A flow is what a client sends from one port to one address of ours, and what comes back. The table decides whether one
//! more may begin, where a datagram belongs, when a flow moves to another backend, when it is over, and which one has to go
//! when there are too many. What a flow holds (its socket, its place at the backend) is of no interest here: it is handed in
//! when the flow begins and handed back when it ends. Time is an argument, in milliseconds on a clock that never goes back.
//!
//! ```text
//!  begin ──► unanswered ──first reply──► answered     silent for `idle_ms`, or had what `responses` says: over
//!                │  ▲                      │  ▲
//!                └──┘ request, move        └──┘ request, reply, move
//! ```
//!
//! Both states are lists in the order of the last datagram. So the next one to be silent for too long is at the head of one
//! of them, and one deadline serves all flows; and the first to go when the table is full is the head of the unanswered
//! ones: a flood of made-up addresses pushes out only what never had an answer.
//!
//! Invariants: a flow is in exactly one list. A key leads to at most one flow, and to none once that has had the datagrams
//! of the client that `requests` allows. An identity is not reused for
//! hours (see [`FlowId`]), so what is said of a flow that is over is noticed.

mod admission;
mod eviction;
mod key;
mod lru;
mod next_hop;
mod rules;
mod state;
#[cfg(test)]
mod tests;

use hashbrown::HashTable;
use slab::Slab;

pub use self::admission::Occupancy;
use self::eviction::EvictionBudget;
pub use self::key::{FlowId, FlowKey};
use self::lru::LruList;
pub use self::next_hop::{Condition, NextHop};
pub use self::rules::{Bounds, Rules};
use self::state::FlowState;
use crate::metrics::reason::DropReason;

/// Datagrams of a client that a flow has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many, from 1 to as many as there were; the rest belongs to another flow.
    pub datagrams: u32,
    /// Datagrams in a row, up to these and with them, that had no reply yet.
    pub unreplied: u32,
}

/// Where replies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Whose flow it is.
    pub key: FlowKey,
    /// Whether the flow has had all that it was to have; the caller ends it.
    pub is_last: bool,
}

/// A flow that is over.
#[derive(Debug)]
pub struct Ended<R> {
    /// Whose it was.
    pub key: FlowKey,
    /// What it held.
    pub resources: R,
    /// Datagrams of the client.
    pub requests: u64,
    /// Datagrams of its backends.
    pub responses: u64,
    /// When it began.
    pub began_ms: u64,
}

/// The flows of one bound address on one worker, each of which holds an `R`.
///
/// Questions: [`find`](Self::find), [`get`](Self::get), [`admit`](Self::admit), [`next_hop`](Self::next_hop),
/// [`deadline`](Self::deadline), [`len`](Self::len).
///
/// Datagrams of a client: `find` the flow. If there is none, `admit` says whether one may begin and how many to
/// [`evict`](Self::evict) for it; then [`begin`](Self::begin) it. If `next_hop` says so, [`renew`](Self::renew) it and change
/// what it holds. Then [`take_requests`](Self::take_requests) says how many belong to it; with the rest begin anew.
///
/// Datagrams of a backend: [`take_replies`](Self::take_replies) says whose they are.
///
/// The end: [`expire`](Self::expire) at the deadline and until it returns none, `evict` when there is no room,
/// [`end`](Self::end) for any other reason.
#[derive(Debug)]
pub struct Flows<R> {
    rules: Rules,
    flows: Slab<FlowState<R>>,
    /// Indices by key, of the flows that take datagrams of their clients.
    by_key: HashTable<u32>,
    /// Makes the places in `by_key` unpredictable for those who choose the keys.
    seed: u64,
    generations: u32,
    unanswered: LruList,
    answered: LruList,
    evictions: EvictionBudget,
}

impl<R> Flows<R> {
    /// No flows. The seed is any number that clients cannot know.
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            flows: Slab::new(),
            by_key: HashTable::new(),
            seed,
            generations: 0,
            unanswered: LruList::default(),
            answered: LruList::default(),
            evictions: EvictionBudget::default(),
        }
    }

    /// Changes the rules, also for the flows that there are.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// The flow that takes datagrams of this key.
    pub fn find(&self, key: &FlowKey) -> Option<FlowId> {
        let index = *self.by_key.find(key.hash(self.seed), |index| self.flow(*index).key == *key)?;
        Some(FlowId { index, generation: self.flow(index).generation })
    }

    /// What a flow holds; `None` when it is over.
    pub fn get(&self, id: FlowId) -> Option<&R> {
        self.current(id).map(|flow| &flow.resources)
    }

    /// What a flow holds, to be changed; `None` when it is over.
    pub fn get_mut(&mut self, id: FlowId) -> Option<&mut R> {
        self.current_mut(id).map(|flow| &mut flow.resources)
    }

    /// When [`Flows::expire`] has something to do next; `None` while there are no flows.
    pub fn deadline(&self) -> Option<u64> {
        let head = |list: &LruList| Some(self.flow(list.first()?).last_ms.saturating_add(self.rules.idle_ms));
        [&self.unanswered, &self.answered].into_iter().filter_map(head).min()
    }

    /// How many flows are to be [evicted](Flows::evict) before one more may begin.
    ///
    /// A place is the caller's when it has taken it: others that share the bound may be faster, and a bound that was lowered
    /// may still be exceeded.
    ///
    /// # Errors
    /// None may begin.
    pub fn admit(&self, occupancy: Occupancy, now_ms: u64) -> Result<usize, DropReason> {
        if self.rules.is_draining {
            return Err(DropReason::Draining);
        }
        let budget = usize::try_from(self.evictions.left(now_ms)).unwrap_or(usize::MAX);
        self.rules.bounds.admit(occupancy, self.len(), self.unanswered.len().min(budget))
    }

    /// Where the next datagram of the client goes when this is known about the flow's backend.
    pub fn next_hop(&self, id: FlowId, condition: Condition, now_ms: u64) -> NextHop {
        let Some(flow) = self.current(id) else { return NextHop::Same };
        NextHop::of(flow.unreplied, condition, self.rules.on_backend_down, now_ms)
    }

    /// Begins a flow; there must be none yet to which this key leads.
    pub fn begin(&mut self, key: FlowKey, resources: R, now_ms: u64) -> FlowId {
        let generation = self.next_generation();
        let index = self.flows.insert(FlowState::new(key, generation, resources, now_ms));
        let index = u32::try_from(index).expect("a flow is a descriptor, and of those there are fewer");
        let (flows, seed) = (&self.flows, self.seed);
        self.by_key.insert_unique(key.hash(seed), index, |index| flows[*index as usize].key.hash(seed));
        self.unanswered.push(&mut self.flows, index);
        FlowId { index, generation }
    }

    /// Gives a flow that goes to another backend a new identity, so that it does not listen to the old one.
    pub fn renew(&mut self, id: FlowId) -> Option<FlowId> {
        let generation = self.next_generation();
        let flow = self.current_mut(id)?;
        flow.generation = generation;
        flow.unreplied = None;
        Some(FlowId { generation, ..id })
    }

    /// Takes as many of `datagrams` of the client, of which there is at least one, as belong to this flow.
    pub fn take_requests(&mut self, id: FlowId, datagrams: u32, now_ms: u64) -> Option<Taken> {
        let most = self.rules.requests;
        let flow = self.current_mut(id)?;
        let left = flow.requests_left(most);
        let taken = u32::try_from(left).unwrap_or(u32::MAX).min(datagrams);
        let unreplied = flow.add_requests(taken, now_ms);
        self.touch(id.index, now_ms);
        if u64::from(taken) == left {
            self.forget_key(id.index);
        }
        Some(Taken { datagrams: taken, unreplied })
    }

    /// Takes datagrams of the backend, of which there is at least one; `None` when the flow is over or has moved.
    pub fn take_replies(&mut self, id: FlowId, datagrams: u32, now_ms: u64) -> Option<Reply> {
        let each = self.rules.responses;
        let flow = self.current_mut(id)?;
        let key = flow.key;
        let is_first = !flow.is_answered();
        let is_last = flow.add_responses(datagrams, each);
        if is_first {
            flow.last_ms = now_ms;
            self.unanswered.remove(&mut self.flows, id.index);
            self.answered.push(&mut self.flows, id.index);
        } else {
            self.touch(id.index, now_ms);
        }
        Some(Reply { key, is_last })
    }

    /// Ends a flow that has been silent for too long, if there is one.
    pub fn expire(&mut self, now_ms: u64) -> Option<Ended<R>> {
        let is_overdue = |index: &u32| now_ms.saturating_sub(self.flow(*index).last_ms) >= self.rules.idle_ms;
        let heads = [self.unanswered.first(), self.answered.first()];
        let index = heads.into_iter().flatten().find(is_overdue)?;
        Some(self.remove(index))
    }

    /// Ends the flow that has waited for its first reply the longest since its client was heard; `None` when there is none,
    /// or when no more may be evicted for now.
    pub fn evict(&mut self, now_ms: u64) -> Option<Ended<R>> {
        let index = self.unanswered.first()?;
        self.evictions.take(now_ms).then(|| self.remove(index))
    }

    /// Ends a flow, unless it is over.
    pub fn end(&mut self, id: FlowId) -> Option<Ended<R>> {
        self.current(id)?;
        Some(self.remove(id.index))
    }

    /// Ends any flow.
    pub fn end_any(&mut self) -> Option<Ended<R>> {
        let index = self.unanswered.first().or(self.answered.first())?;
        Some(self.remove(index))
    }

    fn flow(&self, index: u32) -> &FlowState<R> {
        &self.flows[index as usize]
    }

    fn current(&self, id: FlowId) -> Option<&FlowState<R>> {
        self.flows.get(id.index as usize).filter(|flow| flow.generation == id.generation)
    }

    fn current_mut(&mut self, id: FlowId) -> Option<&mut FlowState<R>> {
        self.flows.get_mut(id.index as usize).filter(|flow| flow.generation == id.generation)
    }

    fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// A datagram has passed: the flow goes to the end of its list, where it is already if time has not moved on.
    fn touch(&mut self, index: u32, now_ms: u64) {
        let flow = &mut self.flows[index as usize];
        if flow.last_ms >= now_ms {
            return;
        }
        flow.last_ms = now_ms;
        let list = if flow.is_answered() { &mut self.answered } else { &mut self.unanswered };
        list.remove(&mut self.flows, index);
        list.push(&mut self.flows, index);
    }

    fn forget_key(&mut self, index: u32) {
        let flow = &mut self.flows[index as usize];
        if std::mem::replace(&mut flow.is_indexed, false)
            && let Ok(entry) = self.by_key.find_entry(flow.key.hash(self.seed), |indexed| *indexed == index)
        {
            entry.remove();
        }
    }

    fn remove(&mut self, index: u32) -> Ended<R> {
        self.forget_key(index);
        let list = if self.flow(index).is_answered() { &mut self.answered } else { &mut self.unanswered };
        list.remove(&mut self.flows, index);
        let FlowState { key, resources, requests, responses, began_ms, .. } = self.flows.remove(index as usize);
        Ended { key, resources, requests, responses, began_ms }
    }
}
