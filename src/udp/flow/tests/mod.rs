mod simulation;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use super::*;

fn exactly(count: u32) -> Quota {
    Quota::Exactly(NonZeroU32::new(count).expect("not 0"))
}

const RULES: Rules = Rules {
    idle_ms: 60_000,
    requests: Quota::Unlimited,
    responses: Quota::Unlimited,
    on_backend_down: OnBackendDown::Move,
};

fn key(port: u16) -> FlowKey {
    FlowKey { client: SocketAddr::from(([10, 0, 0, 1], port)), destination: None, lane: 0 }
}

fn flows(rules: Rules) -> Flows<&'static str> {
    Flows::new(rules, 1)
}

#[test]
fn silence_either_way_ends_a_flow_and_a_datagram_either_way_does_not() {
    let mut flows = flows(RULES);
    let id = flows.begin(key(1), "a", 0);
    flows.forward(id, 1, 0);
    assert_eq!(flows.deadline(), Some(60_000));
    flows.replied(id, 1, 50_000);
    assert_eq!(flows.deadline(), Some(110_000));
    flows.forward(id, 1, 100_000);
    assert!(flows.expire(159_999).is_none());
    assert_eq!(flows.expire(160_000).expect("overdue").held, "a");
    assert_eq!((flows.deadline(), flows.len()), (None, 0));
}

#[test]
fn one_question_and_one_answer_are_a_flow() {
    let mut flows = flows(Rules { requests: exactly(1), responses: exactly(1), ..RULES });
    let first = flows.begin(key(1), "a", 0);
    assert_eq!(flows.forward(first, 3, 0), Some(Taken { datagrams: 1, unanswered: 1 }));
    assert_eq!(flows.find(&key(1)), None, "the next question belongs to another flow");
    let second = flows.begin(key(1), "b", 0);
    flows.forward(second, 2, 0);
    assert_eq!(flows.len(), 2, "the first still waits for its answer");
    assert_eq!(flows.replied(first, 1, 1).map(|reply| reply.is_last), Some(true));
    assert_eq!(flows.end(first).map(|ended| (ended.requests, ended.responses)), Some((1, 1)));
    assert!(flows.replied(first, 1, 2).is_none());
}

#[test]
fn a_flow_waits_for_the_answers_to_all_of_its_questions() {
    let mut flows = flows(Rules { responses: exactly(2), ..RULES });
    let id = flows.begin(key(1), "a", 0);
    flows.forward(id, 2, 0);
    let is_last = |reply: Option<Reply>| reply.expect("it lives").is_last;
    assert!(!is_last(flows.replied(id, 3, 1)));
    assert!(is_last(flows.replied(id, 1, 1)));
}

#[test]
fn those_that_never_had_an_answer_go_first_and_the_longest_silent_of_them() {
    let mut flows = flows(RULES);
    let ids = [1, 2, 3].map(|port| flows.begin(key(port), "x", u64::from(port)));
    flows.forward(ids[0], 1, 10);
    flows.replied(ids[2], 1, 11);
    assert_eq!(flows.evict().map(|ended| ended.key), Some(key(2)));
    assert_eq!(flows.evict().map(|ended| ended.key), Some(key(1)));
    assert!(flows.evict().is_none(), "the third had an answer");
}

#[test]
fn a_flow_that_moved_does_not_listen_to_its_old_backend() {
    let mut flows = flows(RULES);
    let old = flows.begin(key(1), "a", 0);
    let new = flows.renew(old).expect("it lives");
    *flows.held_mut(new).expect("it lives") = "b";
    assert!(flows.replied(old, 1, 1).is_none());
    assert_eq!(flows.held(new), Some(&"b"));
    assert_eq!(flows.find(&key(1)), Some(new));
}

#[test]
fn what_becomes_of_the_flows_of_a_backend_that_is_down() {
    use {OnBackendDown as Policy, Onward::Move, Onward::Stay, Standing::Down, Standing::Refuses, Standing::Serves};
    for (policy, expected) in [
        (Policy::Move, [Stay, Move, Move, Move]),
        (Policy::Stick, [Stay, Stay, Stay, Stay]),
        // A lame duck is left when a datagram has waited too long, or when it says itself that it does not serve.
        (Policy::LameDuck, [Stay, Stay, Move, Move]),
    ] {
        let mut flows = flows(Rules { on_backend_down: policy, ..RULES });
        let id = flows.begin(key(1), "a", 0);
        flows.forward(id, 1, 0);
        flows.replied(id, 1, 1);
        assert_eq!(flows.onward(id, Down, 5_000), expected[1], "answered, then silent: {policy:?}");
        flows.forward(id, 1, 5_000);
        let onward = [
            flows.onward(id, Serves, 9_000),
            flows.onward(id, Down, 5_000 + LAME_DUCK_PATIENCE_MS - 1),
            flows.onward(id, Down, 5_000 + LAME_DUCK_PATIENCE_MS),
            flows.onward(id, Refuses, 5_001),
        ];
        assert_eq!(onward, expected, "{policy:?}");
    }
}

#[test]
fn a_token_is_the_identity() {
    let id = FlowId { slot: 7, generation: u32::MAX };
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
        FlowKey { lane: 1, ..plain },
        key(2),
    ];
    flows.begin(plain, "plain", 0);
    for other in others {
        assert_eq!(flows.find(&other), None);
        flows.begin(other, "other", 0);
    }
    assert_eq!(flows.find(&plain).and_then(|id| flows.held(id).copied()), Some("plain"));
    assert_eq!(flows.len(), 7);
}
