//! Random clients, backends and clocks against the table and a model of it that is too simple to be wrong.
//!
//! `UDP_SEED=N UDP_STEPS=N cargo test --lib udp::flow` replays a run; a failure prints both.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::rc::Rc;

use fastrand::Rng;

use super::super::*;

const DEFAULT_STEPS: u64 = 1_000_000;

/// Few enough that every bound is met often, and that the model may look at all of them.
const CAPACITY: usize = 24;

/// Identities of flows that are over which are kept to be tried: more than there are slots.
const STALE: usize = 4 * CAPACITY;

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
    in_vain: u32,
    in_vain_since_ms: u64,
}

struct World {
    rng: Rng,
    now_ms: u64,
    rules: Rules,
    flows: Flows<Token>,
    /// In the order of their last datagram; of those of one moment, in the order in which that moment came to them.
    model: Vec<Modelled>,
    /// Identities that are no longer good.
    stale: Vec<FlowId>,
    tokens: u64,
    alive: Rc<Cell<usize>>,
}

fn rules(rng: &mut Rng) -> Rules {
    let mut quota = |most| match rng.u32(0..=most) {
        0 => Quota::Unlimited,
        count => Quota::Exactly(NonZeroU32::new(count).expect("not 0")),
    };
    let (requests, responses) = (quota(4), quota(2));
    let on_backend_down =
        *rng.choice(&[OnBackendDown::Move, OnBackendDown::Stick, OnBackendDown::LameDuck]).expect("some");
    Rules { idle_ms: rng.u64(1..3_000), requests, responses, on_backend_down }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rules = rules(&mut rng);
        let flows = Flows::new(rules, rng.u64(..));
        Self { rng, now_ms: 1, rules, flows, model: Vec::new(), stale: Vec::new(), tokens: 0, alive: Rc::default() }
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
        FlowKey { client, destination, lane: self.rng.u64(0..2) }
    }

    fn any(&mut self) -> Option<usize> {
        (!self.model.is_empty()).then(|| self.rng.usize(0..self.model.len()))
    }

    fn step(&mut self) {
        match self.rng.u8(0..100) {
            0..45 => self.client_sends(),
            45..75 => self.backend_replies(),
            75..90 => self.time_passes(),
            90..93 => self.flow_is_ended(),
            93..97 => self.stale_identity_is_used(),
            97..98 => self.rules_change(),
            _ => self.table_is_full(),
        }
        self.agree();
    }

    fn client_sends(&mut self) {
        let (key, count) = (self.key(), self.rng.u32(1..6));
        let mut left = count;
        while left > 0 {
            let modelled = self.model.iter().position(|flow| flow.is_open && flow.key == key);
            assert_eq!(self.flows.find(&key), modelled.map(|at| self.model[at].id));
            let at = modelled.unwrap_or_else(|| self.begin(key));
            let at = self.move_on(at);
            left -= self.forward(at, left);
        }
    }

    fn begin(&mut self, key: FlowKey) -> usize {
        if self.model.len() == CAPACITY {
            self.table_is_full();
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
            in_vain: 0,
            in_vain_since_ms: now_ms,
        });
        self.model.len() - 1
    }

    /// Something is found out about the backend of a flow, which moves or stays.
    fn move_on(&mut self, at: usize) -> usize {
        let standing = *self.rng.choice(&[Standing::Serves, Standing::Down, Standing::Refuses]).expect("some");
        let flow = &self.model[at];
        let waited = if flow.in_vain > 0 { self.now_ms - flow.in_vain_since_ms } else { 0 };
        let moves = match self.rules.on_backend_down {
            OnBackendDown::Move => standing != Standing::Serves,
            OnBackendDown::Stick => false,
            OnBackendDown::LameDuck => {
                standing == Standing::Refuses || (standing == Standing::Down && waited >= LAME_DUCK_PATIENCE_MS)
            }
        };
        let onward = if moves { Onward::Move } else { Onward::Stay };
        assert_eq!(self.flows.onward(flow.id, standing, self.now_ms), onward);
        if moves {
            let token = self.token();
            let (number, old_id) = (token.number, self.model[at].id);
            let id = self.flows.renew(old_id).expect("it lives");
            let old = std::mem::replace(self.flows.held_mut(id).expect("it lives"), token);
            assert_eq!(old.number, self.model[at].token);
            self.stale.push(old_id);
            self.model[at] = Modelled { id, token: number, in_vain: 0, ..self.model[at].clone() };
        }
        at
    }

    fn forward(&mut self, at: usize, datagrams: u32) -> u32 {
        let mut flow = self.model.remove(at);
        let taken = self.flows.forward(flow.id, datagrams, self.now_ms).expect("it lives");
        let mut expected = 0;
        let mut is_open = true;
        while expected < datagrams && is_open {
            expected += 1;
            flow.requests += 1;
            if flow.in_vain == 0 {
                flow.in_vain_since_ms = self.now_ms;
            }
            flow.in_vain += 1;
            is_open = match self.rules.requests {
                Quota::Unlimited => true,
                Quota::Exactly(most) => flow.requests < u64::from(most.get()),
            };
        }
        assert_eq!(taken, Taken { datagrams: expected, unanswered: flow.in_vain });
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
        let reply = self.flows.replied(flow.id, datagrams, self.now_ms).expect("it lives");
        let is_first = flow.responses == 0;
        flow.responses += u64::from(datagrams);
        flow.in_vain = 0;
        let is_last = match self.rules.responses {
            Quota::Unlimited => false,
            Quota::Exactly(each) => flow.responses >= flow.requests * u64::from(each.get()),
        };
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
        assert_eq!((ended.key, ended.held.number), (flow.key, flow.token));
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
            let at = self.model.iter().position(|flow| flow.token == ended.held.number).expect("it is modelled");
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
        assert!(self.flows.held(stale).is_none());
        assert!(self.flows.replied(stale, 1, self.now_ms).is_none());
        assert!(self.flows.forward(stale, 1, self.now_ms).is_none());
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

    fn table_is_full(&mut self) {
        let oldest = self.model.iter().position(|flow| flow.responses == 0);
        assert_eq!(self.flows.has_unanswered(), oldest.is_some());
        let evicted = self.flows.evict();
        assert_eq!(evicted.is_some(), oldest.is_some());
        match (oldest, evicted) {
            (Some(at), Some(evicted)) => {
                let flow = self.model.remove(at);
                self.is_over(&flow, &evicted);
            }
            // All have had replies; a client that sends needs room in this world.
            _ => self.flow_is_ended(),
        }
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
    while world.flows.end_any().is_some() {}
    assert_eq!(world.alive.get(), 0);
}
