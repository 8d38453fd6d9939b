mod simulation;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use super::next_hop::LAME_DUCK_PATIENCE_MS;
use super::*;
use crate::config::OnBackendDown;

const RULES: Rules = Rules {
    idle_ms: 60_000,
    requests: None,
    responses: None,
    on_backend_down: OnBackendDown::Move,
    bounds: Bounds { flows: 100, flows_per_source: None, tables: 1 },
    is_draining: false,
};

fn key(port: u16) -> FlowKey {
    FlowKey { client: SocketAddr::from(([10, 0, 0, 1], port)), destination: None, backend: 0 }
}

fn flows(rules: Rules) -> Flows<&'static str> {
    Flows::new(rules, 1)
}

#[test]
fn silence_either_way_ends_a_flow_and_a_datagram_either_way_does_not() {
    let mut flows = flows(RULES);
    let id = flows.begin(key(1), "a", 0);
    flows.take_requests(id, 1, 0);
    assert_eq!(flows.deadline(), Some(60_000));
    flows.take_replies(id, 1, 50_000);
    assert_eq!(flows.deadline(), Some(110_000));
    flows.take_requests(id, 1, 100_000);
    assert!(flows.expire(159_999).is_none());
    assert_eq!(flows.expire(160_000).expect("overdue").resources, "a");
    assert_eq!((flows.deadline(), flows.len()), (None, 0));
}

#[test]
fn one_question_and_one_answer_are_a_flow() {
    let mut flows = flows(Rules { requests: NonZeroU32::new(1), responses: NonZeroU32::new(1), ..RULES });
    let first = flows.begin(key(1), "a", 0);
    assert_eq!(flows.take_requests(first, 3, 0), Some(Taken { datagrams: 1, unreplied: 1 }));
    assert_eq!(flows.find(&key(1)), None, "the next question belongs to another flow");
    let second = flows.begin(key(1), "b", 0);
    flows.take_requests(second, 2, 0);
    assert_eq!(flows.len(), 2, "the first still waits for its answer");
    assert_eq!(flows.take_replies(first, 1, 1).map(|reply| reply.is_last), Some(true));
    assert_eq!(flows.end(first).map(|ended| (ended.requests, ended.responses)), Some((1, 1)));
    assert!(flows.take_replies(first, 1, 2).is_none());
}

#[test]
fn a_flow_waits_for_the_answers_to_all_of_its_questions() {
    let mut flows = flows(Rules { responses: NonZeroU32::new(2), ..RULES });
    let id = flows.begin(key(1), "a", 0);
    flows.take_requests(id, 2, 0);
    let is_last = |reply: Option<Reply>| reply.expect("it lives").is_last;
    assert!(!is_last(flows.take_replies(id, 3, 1)));
    assert!(is_last(flows.take_replies(id, 1, 1)));
}

#[test]
fn those_that_never_had_an_answer_go_first_and_the_longest_silent_of_them() {
    let mut flows = flows(RULES);
    let ids = [1, 2, 3].map(|port| flows.begin(key(port), "x", u64::from(port)));
    flows.take_requests(ids[0], 1, 10);
    flows.take_replies(ids[2], 1, 11);
    assert_eq!(flows.evict(20).map(|ended| ended.key), Some(key(2)));
    assert_eq!(flows.evict(20).map(|ended| ended.key), Some(key(1)));
    assert!(flows.evict(20).is_none(), "the third had an answer");
}

#[test]
fn a_table_that_drains_keeps_what_it_has_and_lets_nobody_in() {
    let mut flows = flows(RULES);
    let nobody_else = Occupancy { flows: 0, of_source: 0 };
    assert_eq!(flows.admit(nobody_else, 0), Ok(0));
    let id = flows.begin(key(1), "a", 0);
    flows.set_rules(Rules { is_draining: true, ..RULES });
    assert_eq!(flows.admit(nobody_else, 1), Err(DropReason::Draining));
    assert!(flows.take_requests(id, 1, 1).is_some() && flows.take_replies(id, 1, 1).is_some());
}

#[test]
fn a_flood_that_comes_to_one_table_leaves_each_of_the_others_a_place() {
    let bounds = Bounds { flows: 80, flows_per_source: None, tables: 4 };
    let mut tables = [(); 4].map(|()| flows(Rules { bounds, ..RULES }));
    let mut come_to = |table: usize, port: u16| {
        let flows = tables.iter().map(|table| u32::try_from(table.len()).expect("few")).sum();
        let evictions = tables[table].admit(Occupancy { flows, of_source: 0 }, 1)?;
        (0..evictions).for_each(|_| assert!(tables[table].evict(1).is_some()));
        tables[table].begin(key(port), "x", 1);
        Ok(evictions)
    };
    (0..300).for_each(|port| assert!(come_to(0, port).is_ok()));
    assert_eq!([1, 2, 3].map(|table| come_to(table, 300)), [Ok::<_, DropReason>(0); 3]);
}

#[test]
fn a_flow_that_moved_does_not_listen_to_its_old_backend() {
    let mut flows = flows(RULES);
    let old = flows.begin(key(1), "a", 0);
    let new = flows.renew(old).expect("it lives");
    *flows.get_mut(new).expect("it lives") = "b";
    assert!(flows.take_replies(old, 1, 1).is_none());
    assert_eq!(flows.get(new), Some(&"b"));
    assert_eq!(flows.find(&key(1)), Some(new));
}

#[test]
fn what_becomes_of_the_flows_of_a_backend_that_is_down() {
    use {
        Condition::Down, Condition::Refusing, Condition::Serving, NextHop::Other, NextHop::Same,
        OnBackendDown as Policy,
    };
    for (policy, expected) in [
        (Policy::Move, [Same, Other, Other, Other]),
        (Policy::Stick, [Same, Same, Same, Same]),
        // A lame duck is left when a datagram has waited too long, or when it says itself that it does not serve.
        (Policy::LameDuck, [Same, Same, Other, Other]),
    ] {
        let mut flows = flows(Rules { on_backend_down: policy, ..RULES });
        let id = flows.begin(key(1), "a", 0);
        flows.take_requests(id, 1, 0);
        flows.take_replies(id, 1, 1);
        assert_eq!(flows.next_hop(id, Down, 5_000), expected[1], "answered, then silent: {policy:?}");
        flows.take_requests(id, 1, 5_000);
        let next_hops = [
            flows.next_hop(id, Serving, 9_000),
            flows.next_hop(id, Down, 5_000 + LAME_DUCK_PATIENCE_MS - 1),
            flows.next_hop(id, Down, 5_000 + LAME_DUCK_PATIENCE_MS),
            flows.next_hop(id, Refusing, 5_001),
        ];
        assert_eq!(next_hops, expected, "{policy:?}");
    }
}

#[test]
fn a_token_is_the_identity() {
    let id = FlowId { index: 7, generation: u32::MAX };
    assert_eq!(FlowId::from_token(id.token()), id);
}

#[test]
fn every_part_of_a_key_counts() {
    let mut flows = flows(RULES);
    let plain = key(1);
    let v6 = |scope| SocketAddr::V6(std::net::SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 0, scope));
    let others = [
        FlowKey { client: v6(1), ..plain },
        FlowKey { client: v6(2), ..plain },
        FlowKey { destination: Some(IpAddr::from([127, 0, 0, 1])), ..plain },
        FlowKey { destination: Some(IpAddr::from([127, 0, 0, 2])), ..plain },
        FlowKey { backend: 1, ..plain },
        key(2),
    ];
    flows.begin(plain, "plain", 0);
    for other in others {
        assert_eq!(flows.find(&other), None);
        flows.begin(other, "other", 0);
    }
    assert_eq!(flows.find(&plain).and_then(|id| flows.get(id).copied()), Some("plain"));
    assert_eq!(flows.len(), 7);
}
