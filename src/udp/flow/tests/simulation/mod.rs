//! Random clients, backends and clocks against the table and a model of it that is too simple to be wrong.
//!
//! `UDP_SEED=N UDP_STEPS=N cargo test --lib udp::flow` replays a run; a failure prints both.

mod admission;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;

use fastrand::Rng;

use self::admission::Event;
use super::super::next_hop::LAME_DUCK_PATIENCE_MS;
use super::super::*;
use crate::config::OnBackendDown;

const DEFAULT_STEPS: u64 = 1_000_000;

/// Few enough that every bound is met often, and that the model may look at all of them.
const MOST_FLOWS: u32 = 24;

/// Identities of flows that are over which are kept to be tried: more than there are places in the slab.
const STALE: usize = 4 * MOST_FLOWS as usize;

/// What a flow holds here: counted while it lives, so that nothing is lost and nothing kept.
#[derive(Debug)]
struct Token {
    number: u64,
    alive: Rc<Cell<usize>>,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

/// A flow as the model sees it.
#[derive(Debug, Clone)]
struct Modelled {
    id: FlowId,
    token: u64,
    key: FlowKey,
    is_open: bool,
    last_ms: u64,
    requests: u64,
    responses: u64,
    unreplied: u32,
    unreplied_since_ms: u64,
}

struct World {
    rng: Rng,
    now_ms: u64,
    rules: Rules,
    flows: Flows<Token>,
    /// In the order of their last datagram; of those of one moment, in the order in which that moment came to them.
    model: Vec<Modelled>,
    /// The clients of the flows of the other tables of the listener.
    elsewhere: Vec<IpAddr>,
    /// When how many flows were evicted, since there could last have been a whole burst.
    evictions: BTreeMap<u64, u64>,
    events: BTreeSet<Event>,
    /// Identities that are no longer good.
    stale: Vec<FlowId>,
    tokens: u64,
    alive: Rc<Cell<usize>>,
}

fn rules(rng: &mut Rng) -> Rules {
    let (requests, responses) = (NonZeroU32::new(rng.u32(0..=4)), NonZeroU32::new(rng.u32(0..=2)));
    let on_backend_down =
        *rng.choice(&[OnBackendDown::Move, OnBackendDown::Stick, OnBackendDown::LameDuck]).expect("some");
    let bounds = Bounds {
        flows: rng.u32(1..=MOST_FLOWS),
        flows_per_source: rng.bool().then(|| rng.u32(1..=MOST_FLOWS / 2)),
        tables: rng.u32(1..=6),
    };
    Rules { idle_ms: rng.u64(1..3_000), requests, responses, on_backend_down, bounds, is_draining: rng.u8(0..10) == 0 }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rules = rules(&mut rng);
        let flows = Flows::new(rules, rng.u64(..));
        Self {
            rng,
            now_ms: 1,
            rules,
            flows,
            model: Vec::new(),
            elsewhere: Vec::new(),
            evictions: BTreeMap::new(),
            events: BTreeSet::new(),
            stale: Vec::new(),
            tokens: 0,
            alive: Rc::default(),
        }
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        self.alive.set(self.alive.get() + 1);
        Token { number: self.tokens, alive: Rc::clone(&self.alive) }
    }

    fn key(&mut self) -> FlowKey {
        let client = match self.rng.bool() {
            true => SocketAddr::from(([10, 0, 0, self.rng.u8(0..4)], self.rng.u16(1..5))),
            false => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], self.rng.u16(1..5))),
        };
        let destination = self.rng.bool().then(|| IpAddr::from([192, 0, 2, self.rng.u8(0..2)]));
        FlowKey { client, destination, backend: self.rng.u64(0..2) }
    }

    fn any(&mut self) -> Option<usize> {
        (!self.model.is_empty()).then(|| self.rng.usize(0..self.model.len()))
    }

    fn step(&mut self) {
        match self.rng.u16(0..1_000) {
            0..450 => self.client_sends(),
            450..700 => self.backend_replies(),
            700..790 => self.time_passes(),
            790..900 => self.others_change(),
            900..930 => self.flow_is_ended(),
            930..970 => self.stale_identity_is_used(),
            970..980 => self.rules_change(),
            980..999 => drop(self.evict()),
            _ => self.flood_comes(),
        }
        self.agree();
    }

    fn client_sends(&mut self) {
        let (key, count) = (self.key(), self.rng.u32(1..6));
        let mut left = count;
        while left > 0 {
            let modelled = self.model.iter().position(|flow| flow.is_open && flow.key == key);
            assert_eq!(self.flows.find(&key), modelled.map(|at| self.model[at].id));
            let Some(at) = modelled.or_else(|| self.begin(key)) else { return };
            let at = self.move_on(at);
            left -= self.forward(at, left);
        }
    }

    fn begin(&mut self, key: FlowKey) -> Option<usize> {
        if !self.admit(key.client) {
            return None;
        }
        let token = self.token();
        let (number, now_ms) = (token.number, self.now_ms);
        let id = self.flows.begin(key, token, now_ms);
        self.model.push(Modelled {
            id,
            token: number,
            key,
            is_open: true,
            last_ms: now_ms,
            requests: 0,
            responses: 0,
            unreplied: 0,
            unreplied_since_ms: now_ms,
        });
        assert!(self.occupancy(key.client).flows <= self.rules.bounds.flows);
        Some(self.model.len() - 1)
    }

    /// Something is found out about the backend of a flow, which moves or stays.
    fn move_on(&mut self, at: usize) -> usize {
        let condition = *self.rng.choice(&[Condition::Serving, Condition::Down, Condition::Refusing]).expect("some");
        let flow = &self.model[at];
        let waited = if flow.unreplied > 0 { self.now_ms - flow.unreplied_since_ms } else { 0 };
        let moves = match self.rules.on_backend_down {
            OnBackendDown::Move => condition != Condition::Serving,
            OnBackendDown::Stick => false,
            OnBackendDown::LameDuck => {
                condition == Condition::Refusing || (condition == Condition::Down && waited >= LAME_DUCK_PATIENCE_MS)
            }
        };
        let next_hop = if moves { NextHop::Other } else { NextHop::Same };
        assert_eq!(self.flows.next_hop(flow.id, condition, self.now_ms), next_hop);
        if moves {
            let token = self.token();
            let (number, old_id) = (token.number, self.model[at].id);
            let id = self.flows.renew(old_id).expect("it lives");
            let old = std::mem::replace(self.flows.get_mut(id).expect("it lives"), token);
            assert_eq!(old.number, self.model[at].token);
            self.stale.push(old_id);
            self.model[at] = Modelled { id, token: number, unreplied: 0, ..self.model[at].clone() };
        }
        at
    }

    fn forward(&mut self, at: usize, datagrams: u32) -> u32 {
        let mut flow = self.model.remove(at);
        let taken = self.flows.take_requests(flow.id, datagrams, self.now_ms).expect("it lives");
        let mut expected = 0;
        let mut is_open = true;
        while expected < datagrams && is_open {
            expected += 1;
            flow.requests += 1;
            if flow.unreplied == 0 {
                flow.unreplied_since_ms = self.now_ms;
            }
            flow.unreplied += 1;
            is_open = self.rules.requests.is_none_or(|most| flow.requests < u64::from(most.get()));
        }
        assert_eq!(taken, Taken { datagrams: expected, unreplied: flow.unreplied });
        flow.is_open = is_open;
        self.put_back(at, flow);
        expected
    }

    /// Back to where it was if time has not moved on since its last datagram, otherwise to the end.
    fn put_back(&mut self, at: usize, mut flow: Modelled) {
        let has_moved_on = flow.last_ms < self.now_ms;
        flow.last_ms = self.now_ms;
        if has_moved_on { self.model.push(flow) } else { self.model.insert(at, flow) }
    }

    fn backend_replies(&mut self) {
        let Some(at) = self.any() else { return };
        let datagrams = self.rng.u32(1..4);
        let mut flow = self.model.remove(at);
        let reply = self.flows.take_replies(flow.id, datagrams, self.now_ms).expect("it lives");
        let is_first = flow.responses == 0;
        flow.responses += u64::from(datagrams);
        flow.unreplied = 0;
        let responses = self.rules.responses;
        let is_last = responses.is_some_and(|each| flow.responses >= flow.requests * u64::from(each.get()));
        assert_eq!(reply, Reply { key: flow.key, is_last });
        if is_last {
            let ended = self.flows.end(flow.id).expect("it lives");
            return self.is_over(&flow, &ended);
        }
        if is_first {
            // It joins the other list, at its end.
            flow.last_ms = self.now_ms;
            self.model.push(flow);
        } else {
            self.put_back(at, flow);
        }
    }

    fn is_over(&mut self, flow: &Modelled, ended: &Ended<Token>) {
        assert_eq!((ended.key, ended.resources.number), (flow.key, flow.token));
        assert_eq!((ended.requests, ended.responses), (flow.requests, flow.responses));
        self.stale.push(flow.id);
    }

    fn time_passes(&mut self) {
        self.now_ms += match self.rng.u8(0..8) {
            0 => self.rng.u64(0..5_000),
            1..4 => self.rng.u64(0..100),
            _ => self.rng.u64(0..3),
        };
        let now_ms = self.now_ms;
        let overdue = |flow: &Modelled, idle_ms| now_ms - flow.last_ms >= idle_ms;
        while let Some(ended) = self.flows.expire(now_ms) {
            let at = self.model.iter().position(|flow| flow.token == ended.resources.number).expect("it is modelled");
            let flow = self.model.remove(at);
            assert!(overdue(&flow, self.rules.idle_ms), "{flow:?} ended too early");
            self.is_over(&flow, &ended);
        }
        assert!(!self.model.iter().any(|flow| overdue(flow, self.rules.idle_ms)), "one is overdue and lives");
    }

    fn flow_is_ended(&mut self) {
        let Some(at) = self.any() else { return };
        let flow = self.model.remove(at);
        let ended = self.flows.end(flow.id).expect("it lives");
        self.is_over(&flow, &ended);
    }

    fn stale_identity_is_used(&mut self) {
        let Some(&stale) = self.rng.choice(&self.stale) else { return };
        assert!(self.flows.get(stale).is_none());
        assert!(self.flows.take_replies(stale, 1, self.now_ms).is_none());
        assert!(self.flows.take_requests(stale, 1, self.now_ms).is_none());
        assert!(self.flows.end(stale).is_none());
        // The newest are those whose slots have others in them by now, or will soon.
        let oldest = self.stale.len().saturating_sub(STALE);
        self.stale.drain(..oldest);
    }

    fn rules_change(&mut self) {
        self.rules = rules(&mut self.rng);
        self.flows.set_rules(self.rules);
        self.time_passes();
    }

    fn agree(&self) {
        assert_eq!(self.flows.len(), self.model.len());
        assert_eq!(self.alive.get(), self.model.len(), "what flows hold lives as long as they do");
        let oldest = self.model.iter().map(|flow| flow.last_ms + self.rules.idle_ms).min();
        assert_eq!(self.flows.deadline(), oldest);
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn the_table_does_what_the_model_does() {
    let seed = from_env("UDP_SEED").unwrap_or_else(|| fastrand::u64(..));
    let steps = from_env("UDP_STEPS").unwrap_or(DEFAULT_STEPS);
    let mut world = World::new(seed);
    for step in 0..steps {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.step()));
        if let Err(panic) = outcome {
            eprintln!("replay with UDP_SEED={seed} UDP_STEPS={}", step + 1);
            std::panic::resume_unwind(panic);
        }
    }
    assert!(world.tokens > steps / 50, "flows were begun and moved");
    assert!(steps < DEFAULT_STEPS || world.events.len() == 8, "only {:?} were met with UDP_SEED={seed}", world.events);
    while world.flows.end_any().is_some() {}
    assert_eq!(world.alive.get(), 0);
}
