//! The flow table: who belongs to whom, without I/O.
//!
//! A flow is what a client sends from one port to one address of ours, and what comes back. The table decides where a
//! datagram belongs, when a flow moves to another backend, when it is over, and which one has to go when there are too
//! many. What a flow holds (its socket, its place at the backend) is of no interest here: it is handed in when the flow
//! begins and handed back when it ends. Time is an argument, in milliseconds on a clock that never goes back.
//!
//! ```text
//!  begin ──► unanswered ──replied──► answered        silent for `idle_ms`, or had what `responses` says: over
//!                │  ▲                  │  ▲
//!                └──┘ forward, move    └──┘ forward, move, replied
//! ```
//!
//! Both states are lists in the order of the last datagram. So the next one to be silent for too long is at the head of one
//! of them, and one deadline serves all flows; and the first to go when the table is full is the head of the unanswered
//! ones: whoever fills the table with made-up addresses pushes out only what never had an answer.
//!
//! Invariants: a flow is in exactly one list. A key leads to at most one flow, and to none once that has had the datagrams
//! of the client that `requests` allows. An identity is never reused, so what is said of a flow that is over is noticed.

mod key;
mod lru;
#[cfg(test)]
mod tests;

use hashbrown::HashTable;
use slab::Slab;

pub use self::key::{FlowId, FlowKey};
use self::lru::{Links, Order};
use crate::config::{OnBackendDown, Quota};

/// How long a datagram may wait for its reply before a flow of a lame duck moves. Any service that is worth staying with
/// answers, or acknowledges, within that.
const LAME_DUCK_PATIENCE_MS: u64 = 1_000;

/// What the configuration says about flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A flow without a datagram either way for this long is over.
    pub idle_ms: u64,
    /// Datagrams of the client in a flow; the next one begins another.
    pub requests: Quota,
    /// Replies to each of them; a flow that has had them all is over.
    pub responses: Quota,
    /// What becomes of the flows of a backend that cannot serve them.
    pub on_backend_down: OnBackendDown,
}

/// What is known about the backend of a flow when the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing bad.
    Serves,
    /// Its health says that it is down, or a reload took it away.
    Down,
    /// It refused a datagram of this flow.
    Refuses,
}

/// Where the next datagram of a flow goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onward {
    /// To the backend that the flow has.
    Stay,
    /// To another one.
    Move,
}

/// Datagrams of a client that a flow has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many, from 1 to as many as there were; the rest belongs to another flow.
    pub datagrams: u32,
    /// Datagrams in a row, up to these and with them, that had no reply yet.
    pub unanswered: u32,
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
pub struct Ended<U> {
    /// Whose it was.
    pub key: FlowKey,
    /// What it held.
    pub held: U,
    /// Datagrams of the client.
    pub requests: u64,
    /// Datagrams of its backends.
    pub responses: u64,
    /// When it began.
    pub began_ms: u64,
}

/// The flows of one bound address on one worker, each of which holds a `U`.
///
/// Questions: [`find`](Self::find), [`held`](Self::held), [`onward`](Self::onward), [`deadline`](Self::deadline),
/// [`len`](Self::len), [`has_unanswered`](Self::has_unanswered).
///
/// Datagrams of a client: `find` the flow, or [`begin`](Self::begin) one. If `onward` says so, [`renew`](Self::renew)
/// it and change what it holds. Then [`forward`](Self::forward) says how many belong to it; with the rest begin anew.
///
/// Datagrams of a backend: [`replied`](Self::replied) says whose they are.
///
/// The end: [`expire`](Self::expire) at the deadline and until it returns none, [`evict`](Self::evict) when there is no room,
/// [`end`](Self::end) for any other reason.
#[derive(Debug)]
pub struct Flows<U> {
    rules: Rules,
    flows: Slab<Flow<U>>,
    /// Slots by key, of the flows that take datagrams of their clients.
    index: HashTable<u32>,
    /// Makes the places in the index unpredictable for those who choose the keys.
    seed: u64,
    generations: u32,
    unanswered: Order,
    answered: Order,
}

#[derive(Debug)]
struct Flow<U> {
    key: FlowKey,
    generation: u32,
    links: Links,
    last_ms: u64,
    began_ms: u64,
    requests: u64,
    responses: u64,
    /// Datagrams of the client since the last reply, and when the first of them came.
    in_vain: u32,
    in_vain_since_ms: u64,
    /// Whether its key leads to it.
    is_indexed: bool,
    held: U,
}

impl<U> Flow<U> {
    fn is_answered(&self) -> bool {
        self.responses > 0
    }
}

impl<U> Flows<U> {
    /// No flows. The seed is any number that clients cannot know.
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            flows: Slab::new(),
            index: HashTable::new(),
            seed,
            generations: 0,
            unanswered: Order::default(),
            answered: Order::default(),
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

    /// Whether there is one for [`Flows::evict`].
    pub fn has_unanswered(&self) -> bool {
        self.unanswered.first().is_some()
    }

    /// The flow that takes datagrams of this key.
    pub fn find(&self, key: &FlowKey) -> Option<FlowId> {
        let slot = *self.index.find(key.hash(self.seed), |slot| self.flow(*slot).key == *key)?;
        Some(FlowId { slot, generation: self.flow(slot).generation })
    }

    /// What a flow holds; `None` when it is over.
    pub fn held(&self, id: FlowId) -> Option<&U> {
        self.flows.get(id.index()).filter(|flow| flow.generation == id.generation).map(|flow| &flow.held)
    }

    /// What a flow holds, to be changed; `None` when it is over.
    pub fn held_mut(&mut self, id: FlowId) -> Option<&mut U> {
        self.current(id).map(|flow| &mut flow.held)
    }

    /// When [`Flows::expire`] has something to do next; `None` while there are no flows.
    pub fn deadline(&self) -> Option<u64> {
        let head = |order: &Order| order.first().map(|slot| self.flow(slot).last_ms.saturating_add(self.rules.idle_ms));
        [&self.unanswered, &self.answered].into_iter().filter_map(head).min()
    }

    /// Where the next datagram of the client goes when this is known about the flow's backend.
    pub fn onward(&self, id: FlowId, standing: Standing, now_ms: u64) -> Onward {
        let Some(flow) = self.flows.get(id.index()).filter(|flow| flow.generation == id.generation) else {
            return Onward::Stay;
        };
        let is_left_alone =
            || flow.in_vain > 0 && now_ms.saturating_sub(flow.in_vain_since_ms) >= LAME_DUCK_PATIENCE_MS;
        match (standing, self.rules.on_backend_down) {
            (Standing::Serves, _) | (_, OnBackendDown::Stick) => Onward::Stay,
            (Standing::Down, OnBackendDown::LameDuck) if !is_left_alone() => Onward::Stay,
            (Standing::Down | Standing::Refuses, OnBackendDown::Move | OnBackendDown::LameDuck) => Onward::Move,
        }
    }

    /// Begins a flow; there must be none yet to which this key leads.
    pub fn begin(&mut self, key: FlowKey, held: U, now_ms: u64) -> FlowId {
        let generation = self.next_generation();
        let flow = Flow {
            key,
            generation,
            links: Links::default(),
            last_ms: now_ms,
            began_ms: now_ms,
            requests: 0,
            responses: 0,
            in_vain: 0,
            in_vain_since_ms: now_ms,
            is_indexed: true,
            held,
        };
        let slot =
            u32::try_from(self.flows.insert(flow)).expect("a flow is a descriptor, and of those there are fewer");
        let (flows, seed) = (&self.flows, self.seed);
        self.index.insert_unique(key.hash(seed), slot, |slot| flows[*slot as usize].key.hash(seed));
        self.unanswered.push(&mut self.flows, slot);
        FlowId { slot, generation }
    }

    /// Gives a flow that goes to another backend a new identity, so that it does not listen to the old one.
    pub fn renew(&mut self, id: FlowId) -> Option<FlowId> {
        let generation = self.next_generation();
        let flow = self.current(id)?;
        flow.generation = generation;
        flow.in_vain = 0;
        Some(FlowId { generation, ..id })
    }

    /// Takes as many of `datagrams` of the client, of which there is at least one, as belong to this flow.
    pub fn forward(&mut self, id: FlowId, datagrams: u32, now_ms: u64) -> Option<Taken> {
        let quota = self.rules.requests;
        let flow = self.current(id)?;
        let left = match quota {
            Quota::Unlimited => u64::MAX,
            // One at least: the quota may have become smaller by a reload.
            Quota::Exactly(most) => u64::from(most.get()).saturating_sub(flow.requests).max(1),
        };
        let taken = u32::try_from(left).unwrap_or(u32::MAX).min(datagrams);
        if flow.in_vain == 0 {
            flow.in_vain_since_ms = now_ms;
        }
        flow.requests += u64::from(taken);
        flow.in_vain = flow.in_vain.saturating_add(taken);
        let unanswered = flow.in_vain;
        let is_used_up = u64::from(taken) == left;
        self.touch(id.slot, now_ms);
        if is_used_up {
            self.forget_key(id.slot);
        }
        Some(Taken { datagrams: taken, unanswered })
    }

    /// Takes datagrams of the backend, of which there is at least one; `None` when the flow is over or has moved.
    pub fn replied(&mut self, id: FlowId, datagrams: u32, now_ms: u64) -> Option<Reply> {
        let quota = self.rules.responses;
        let flow = self.current(id)?;
        let is_first = !flow.is_answered();
        flow.responses += u64::from(datagrams);
        flow.in_vain = 0;
        let is_last = match quota {
            Quota::Unlimited => false,
            Quota::Exactly(each) => flow.responses >= flow.requests.saturating_mul(u64::from(each.get())),
        };
        let key = flow.key;
        if is_first {
            self.unanswered.remove(&mut self.flows, id.slot);
            self.flows[id.index()].last_ms = now_ms;
            self.answered.push(&mut self.flows, id.slot);
        } else {
            self.touch(id.slot, now_ms);
        }
        Some(Reply { key, is_last })
    }

    /// Ends a flow that has been silent for too long, if there is one.
    pub fn expire(&mut self, now_ms: u64) -> Option<Ended<U>> {
        let is_overdue = |slot: &u32| now_ms.saturating_sub(self.flow(*slot).last_ms) >= self.rules.idle_ms;
        let heads = [self.unanswered.first(), self.answered.first()];
        let slot = heads.into_iter().flatten().find(is_overdue)?;
        Some(self.remove(slot))
    }

    /// Ends the flow that has waited for its first reply the longest since its client was heard, if there is one.
    pub fn evict(&mut self) -> Option<Ended<U>> {
        let slot = self.unanswered.first()?;
        Some(self.remove(slot))
    }

    /// Ends a flow, unless it is over.
    pub fn end(&mut self, id: FlowId) -> Option<Ended<U>> {
        self.current(id)?;
        Some(self.remove(id.slot))
    }

    /// Ends any flow.
    pub fn end_any(&mut self) -> Option<Ended<U>> {
        let slot = self.unanswered.first().or(self.answered.first())?;
        Some(self.remove(slot))
    }

    fn flow(&self, slot: u32) -> &Flow<U> {
        &self.flows[slot as usize]
    }

    fn current(&mut self, id: FlowId) -> Option<&mut Flow<U>> {
        self.flows.get_mut(id.index()).filter(|flow| flow.generation == id.generation)
    }

    fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    /// A datagram has passed: the flow goes to the end of its list, where it is already if time has not moved on.
    fn touch(&mut self, slot: u32, now_ms: u64) {
        let flow = &mut self.flows[slot as usize];
        if flow.last_ms >= now_ms {
            return;
        }
        flow.last_ms = now_ms;
        let order = if flow.is_answered() { &mut self.answered } else { &mut self.unanswered };
        order.remove(&mut self.flows, slot);
        order.push(&mut self.flows, slot);
    }

    fn forget_key(&mut self, slot: u32) {
        let flow = &mut self.flows[slot as usize];
        if std::mem::replace(&mut flow.is_indexed, false)
            && let Ok(entry) = self.index.find_entry(flow.key.hash(self.seed), |indexed| *indexed == slot)
        {
            entry.remove();
        }
    }

    fn remove(&mut self, slot: u32) -> Ended<U> {
        self.forget_key(slot);
        let order = if self.flow(slot).is_answered() { &mut self.answered } else { &mut self.unanswered };
        order.remove(&mut self.flows, slot);
        let Flow { key, held, requests, responses, began_ms, .. } = self.flows.remove(slot as usize);
        Ended { key, held, requests, responses, began_ms }
    }
}
