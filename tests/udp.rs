//! Flows of datagrams through the real program: what arrives, where it goes, and when a flow ends.

mod support;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;
use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, Spoofer, answered_by, ask, ask_again, client, client_from, hear, hears_nothing};
use support::port::{free_addr, free_port};
use support::wait::{SOON, hold_for, wait_until};

/// The longest datagram of IPv4 there is, and one that is hardly any.
const LENGTHS: [usize; 5] = [0, 1, 1_472, 1_473, 65_507];

#[test]
fn datagrams_of_every_length_arrive_whole_and_replies_come_from_where_the_client_sent_to() {
    let echo = Echo::start();
    let port = free_port();
    let config = Config::new()
        .udp_listener("v4", format!("0.0.0.0:{port}"), "main", "")
        .udp_listener("v6", format!("[::]:{port}"), "main", "")
        .pool("main", &[echo.addr()], "");
    let balancer = Balancer::start(&config);
    for ip in ["127.0.0.1", "127.0.0.2", "127.3.2.1", "::1"] {
        // A connected socket hears nobody but the address that it sent to.
        let client = client(SocketAddr::new(ip.parse().expect("an address"), port));
        for length in LENGTHS {
            let request: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).expect("small")).collect();
            let reply = ask(&client, &request).expect("an answer");
            assert!(reply.ends_with(&request), "{length} bytes from {ip}");
        }
    }
    assert_eq!(flows_active(&balancer), 4.0);
    assert_eq!(dropped(&balancer, None), 0.0);
    let datagrams = |direction| balancer.metrics().sum("evenkeel_datagrams_total", &[("direction", direction)]);
    assert_eq!((datagrams("upstream"), datagrams("downstream")), (20.0, 20.0));
}

#[test]
fn a_flow_stays_on_its_backend_and_flows_are_spread() {
    let echoes = [Echo::start(), Echo::start()];
    let front = free_addr();
    let _balancer = Balancer::start(&udp(front, &echoes, ""));
    let clients: Vec<UdpSocket> = (0..8).map(|_| client(front)).collect();
    let first: Vec<u16> = clients.iter().map(|client| answered_by(client, b"1")).collect();
    for round in 0..5 {
        let now: Vec<u16> = clients.iter().map(|client| answered_by(client, b"again")).collect();
        assert_eq!(now, first, "round {round}");
    }
    for echo in &echoes {
        assert_eq!(first.iter().filter(|port| **port == echo.addr().port()).count(), 4);
    }
}

#[test]
fn where_each_datagram_stands_for_itself_they_are_spread_and_sockets_are_kept() {
    let echoes = [Echo::start(), Echo::start()];
    let front = free_addr();
    let balancer = Balancer::start(&udp(front, &echoes, "per_packet = true"));
    let client = client(front);
    let answered: Vec<u16> = (0..20).map(|_| answered_by(&client, b"q")).collect();
    assert!(answered.windows(2).all(|pair| pair[0] != pair[1]), "turn by turn: {answered:?}");
    assert_eq!(flows_active(&balancer), 2.0, "one flow with each backend");
}

#[test]
fn one_question_and_one_answer_are_a_flow_if_the_listener_says_so() {
    let echoes = [Echo::start(), Echo::start()];
    let front = free_addr();
    let balancer = Balancer::start(&udp(front, &echoes, "requests = 1\nresponses = 1"));
    let client = client(front);
    let answered: HashSet<u16> = (0..10).map(|_| answered_by(&client, b"q")).collect();
    assert_eq!(answered.len(), 2, "each question is a flow");
    wait_until("no flow is left", SOON, || flows_active(&balancer) == 0.0);
    assert_eq!(balancer.metrics().sum("evenkeel_listener_flows_total", &[]), 10.0);
    assert_eq!(closed(&balancer, "finished"), 10.0);
    assert_eq!(balancer.log.sessions().len(), 1, "one of a hundred of these is recorded");
    assert_eq!(balancer.log.only_session().number("one_of"), 100.0);
}

#[test]
fn a_silent_flow_ends_and_leaves_a_record_and_no_descriptor() {
    let echo = Echo::start();
    let front = free_addr();
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), "flow_idle_timeout = \"1s\""));
    let before = balancer.settled_descriptors();
    let client = client(front);
    for _ in 0..3 {
        ask(&client, b"hello").expect("an answer");
    }
    assert_eq!(balancer.settled_descriptors().sockets, before.sockets + 1);
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("listener")), ("idle-timeout", "main"));
    assert_eq!((record.number("datagrams_up"), record.number("datagrams_down")), (3.0, 3.0));
    assert_eq!(record.number("bytes_up"), 15.0);
    assert_eq!(record.text("client"), client.local_addr().expect("bound").to_string());
    assert_eq!(record.text("backend"), echo.addr().to_string());
    assert!((1_000.0..4_000.0).contains(&record.number("total_ms")));
    assert_eq!(balancer.settled_descriptors(), before);
    assert_eq!(flows_active(&balancer), 0.0);
}

#[test]
fn flows_of_a_backend_that_is_gone_move_or_stick_as_the_listener_says() {
    let front = |echoes: &[Echo], policy: &str| {
        let front = free_addr();
        (front, Balancer::start(&udp(front, echoes, &format!("on_backend_down = \"{policy}\""))))
    };
    for policy in ["move", "lame-duck", "stick"] {
        let mut echoes = vec![Echo::start(), Echo::start()];
        let (front, balancer) = front(&echoes, policy);
        let clients = [client(front), client(front)];
        let ports = [0, 1].map(|index| answered_by(&clients[index], b"1"));
        let staying = echoes.iter().position(|echo| echo.addr().port() == ports[1]).expect("one of the two");
        let survivor = echoes.swap_remove(staying);
        // The other one is killed: its machine refuses datagrams from now on.
        drop(echoes);
        if policy == "stick" {
            clients[0].send(b"2").expect("sent");
            assert!(hears_nothing(&clients[0]), "it stays where nobody is");
        } else {
            let reply = ask_again(&clients[0], b"2");
            assert_eq!(reply, format!("{}:2", survivor.addr().port()).into_bytes(), "{policy}");
        }
        assert_eq!(answered_by(&clients[1], b"3"), survivor.addr().port(), "the other flow is not touched");
        wait_until("the refusals are counted", SOON, || {
            balancer.metrics().sum("evenkeel_backend_icmp_errors_total", &[]) > 0.0
        });
    }
}

#[test]
fn a_backend_that_answers_nobody_is_ejected_and_comes_back() {
    let (echo, silent) = (Echo::start(), UdpSocket::bind(free_addr()).expect("free"));
    let silent_addr = silent.local_addr().expect("bound");
    let front = free_addr();
    let config = Config::new().udp_listener("main", front, "main", "").pool(
        "main",
        &[echo.addr(), silent_addr],
        "[pools.main.passive_check]\nunanswered = 2\nflows = 2\nwindow = \"10s\"\neject_for = \"2s\"",
    );
    let balancer = Balancer::start(&config);
    let is_up = || balancer.metrics().value("evenkeel_backend_up", &[("backend", &silent_addr.to_string())]) == 1.0;
    let clients: Vec<UdpSocket> = (0..8).map(|_| client(front)).collect();
    for _ in 0..2 {
        clients.iter().for_each(|client| drop(client.send(b"anybody?")));
    }
    wait_until("it is ejected", SOON, || !is_up());
    for client in &clients {
        // Those of the living one have old answers waiting.
        let answer = format!("{}:now?", echo.addr().port()).into_bytes();
        while ask_again(client, b"now?") != answer {}
    }
    wait_until("it is back", SOON, is_up);
}

#[test]
fn a_long_flow_stays_on_its_backend_across_a_hundred_reloads() {
    let echoes = [Echo::start(), Echo::start(), Echo::start()];
    let front = free_addr();
    let config = |weight: u32| {
        let backends = format!(
            "{{ address = \"{}\", weight = {weight} }}, \"{}\", \"{}\"",
            echoes[0].addr(),
            echoes[1].addr(),
            echoes[2].addr()
        );
        Config::new().udp_listener("main", front, "main", "").pool_of("main", &backends, "policy = \"maglev\"")
    };
    let balancer = Balancer::start(&config(1));
    let flow = client(front);
    let home = answered_by(&flow, b"handshake");
    for round in 0..100 {
        balancer.reload_done(&config(2 + round % 2));
        assert_eq!(answered_by(&flow, &round.to_be_bytes()), home, "after reload {round}");
    }
    assert_eq!((flows_active(&balancer), dropped(&balancer, None)), (1.0, 0.0));
}

#[test]
fn a_drained_backend_keeps_its_flows_and_gets_no_more_and_a_removed_one_loses_them() {
    let echoes = [Echo::start(), Echo::start()];
    let [leaving, staying] = [0, 1].map(|index| echoes[index].addr());
    let front = free_addr();
    let config = |backends: &str| Config::new().udp_listener("main", front, "main", "").pool_of("main", backends, "");
    let balancer = Balancer::start(&config(&format!("\"{leaving}\", \"{staying}\"")));
    let clients = [client(front), client(front)];
    let mut of_leaving = None;
    for client in &clients {
        if answered_by(client, b"1") == leaving.port() {
            of_leaving = Some(client);
        }
    }
    let old = of_leaving.expect("one of two goes there");
    balancer.reload_done(&config(&format!("{{ address = \"{leaving}\", weight = 0 }}, \"{staying}\"")));
    assert_eq!(answered_by(old, b"2"), leaving.port(), "its flows go on");
    for _ in 0..6 {
        assert_eq!(answered_by(&client(front), b"new"), staying.port());
    }
    balancer.reload_done(&config(&format!("\"{staying}\"")));
    assert_eq!(answered_by(old, b"3"), staying.port());
}

#[test]
fn at_the_bound_those_without_an_answer_go_first_and_the_others_stay() {
    let (echo, silent) = (Echo::start(), UdpSocket::bind(free_addr()).expect("free"));
    let front = free_addr();
    let config = |backend: SocketAddr| {
        Config::new().udp_listener("main", front, "main", "max_flows = 4").pool("main", &[backend], "")
    };
    let balancer = Balancer::start(&config(echo.addr()));
    let established: Vec<UdpSocket> = (0..4).map(|_| client(front)).collect();
    established.iter().for_each(|client| assert!(ask(client, b"1").is_ok()));
    let refused = client(front);
    refused.send(b"no room").expect("sent");
    wait_until("it is refused", SOON, || dropped(&balancer, Some("table-full")) == 1.0);
    drop(balancer);

    let balancer = Balancer::start(&config(silent.local_addr().expect("bound")));
    let clients: Vec<UdpSocket> = (0..200).map(|_| client(front)).collect();
    clients.iter().for_each(|client| drop(client.send(b"anybody?")));
    wait_until("all were seen", SOON, || {
        let metrics = balancer.metrics();
        let begun = metrics.sum("evenkeel_listener_flows_total", &[]);
        begun + metrics.sum("evenkeel_datagrams_dropped_total", &[]) >= 200.0
    });
    // A worker only evicts flows of its own, and one of the two may hold none.
    assert!(closed(&balancer, "evicted") > 50.0);
    assert!(flows_active(&balancer) <= 4.0);
}

#[test]
fn one_address_cannot_take_all_the_flows() {
    let echo = Echo::start();
    let front = free_addr();
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), "max_flows_per_source = 3"));
    let from = |last| (0..3).map(|_| client_from(Ipv4Addr::new(127, 0, 0, last).into(), front)).collect::<Vec<_>>();
    let (mut one, other) = (from(1), from(9));
    one.iter().chain(&other).for_each(|client| drop(ask(client, b"1").expect("an answer")));
    one.extend(from(1));
    one[3].send(b"too many").expect("sent");
    assert!(hears_nothing(&one[3]));
    assert_eq!(dropped(&balancer, Some("source-limit")), 1.0);
    assert!(ask(&one[0], b"2").is_ok(), "those that it has go on");
}

#[test]
fn what_claims_to_come_from_a_listener_does_not_go_round() {
    let echo = Echo::start();
    let (one, other) = (free_addr(), free_addr());
    let config = Config::new()
        .udp_listener("one", one, "main", "")
        .udp_listener("other", format!("0.0.0.0:{}", other.port()), "main", "")
        .pool("main", &[echo.addr()], "");
    let balancer = Balancer::start(&config);
    let spoofer = Spoofer::new();
    spoofer.send(other, one, b"loop");
    spoofer.send(one, one, b"loop");
    spoofer.send(one, other, b"loop");
    wait_until("all are dropped", SOON, || dropped(&balancer, Some("own-address")) == 3.0);
    hold_for("no backend hears of it", Duration::from_millis(200), || echo.received() == 0);
    // The harness itself works: with another source the same datagram passes.
    spoofer.send(SocketAddr::from(([127, 0, 0, 1], free_port())), one, b"stranger");
    wait_until("it passes", SOON, || echo.received() == 1);
}

#[test]
fn a_forged_reply_is_not_delivered() {
    let backend = UdpSocket::bind(free_addr()).expect("free");
    let front = free_addr();
    let config =
        Config::new().udp_listener("main", front, "main", "").pool("main", &[backend.local_addr().expect("bound")], "");
    let _balancer = Balancer::start(&config);
    let client = client(front);
    client.send(b"question").expect("sent");
    let (_, flow) = backend.recv_from(&mut [0; 16]).expect("the question");
    let stranger = UdpSocket::bind(free_addr()).expect("free");
    stranger.send_to(b"forged", flow).expect("sent");
    assert!(hears_nothing(&client));
    backend.send_to(b"genuine", flow).expect("sent");
    assert_eq!(hear(&client).expect("an answer"), b"genuine");
}

#[test]
fn spoofed_sources_cost_bounded_memory_and_established_flows_go_on() {
    const SOURCES: u32 = 200_000;
    let (echo, silent) = (Echo::start(), UdpSocket::bind(free_addr()).expect("free"));
    let (front, flooded) = (free_addr(), free_addr());
    let config = Config::new()
        .udp_listener("main", front, "main", "max_flows = 1_000")
        .udp_listener("flooded", flooded, "silent", "max_flows = 10_000")
        .pool("main", &[echo.addr()], "")
        .pool("silent", &[silent.local_addr().expect("bound")], "");
    let balancer = Balancer::start(&config);
    let established: Vec<UdpSocket> = (0..100).map(|_| client(front)).collect();
    established.iter().for_each(|client| drop(ask(client, b"before").expect("an answer")));
    let spoofer = Spoofer::new();
    let (mut asked, mut answered) = (0, 0);
    for source in 0..SOURCES {
        let [_, a, b, c] = (source + 256).to_be_bytes();
        spoofer.send(SocketAddr::from(([127, 64 + a, b, c], 4_000)), flooded, b"flood");
        if source % 1_000 == 0 {
            let client = &established[asked % established.len()];
            asked += 1;
            answered += usize::from(ask(client, b"during").is_ok());
        }
    }
    assert!(answered * 100 >= asked * 99, "{answered} of {asked} had their answers");
    let metrics = balancer.metrics();
    let seen = metrics.sum("evenkeel_listener_flows_total", &[("listener", "flooded")]);
    assert!(seen > 20_000.0, "the flood arrived: {seen}");
    assert!(metrics.sum("evenkeel_listener_flows_active", &[("listener", "flooded")]) <= 10_000.0);
    // 1.5 KiB a flow, beside what the program takes at rest and the memory through which datagrams pass.
    assert!(balancer.process.resident_bytes() < (64 << 20), "{} bytes", balancer.process.resident_bytes());
}

#[test]
fn a_question_under_way_is_answered_while_the_process_stops() {
    let echo = Echo::start_on(free_addr(), Duration::from_millis(500));
    let front = free_addr();
    let mut balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), "requests = 1\nresponses = 1"));
    let client = client(front);
    client.send(b"question").expect("sent");
    wait_until("it is under way", SOON, || echo.received() == 1);
    balancer.process.signal(Signal::TERM);
    assert_eq!(hear(&client).expect("an answer"), format!("{}:question", echo.addr().port()).into_bytes());
    assert!(balancer.wait_exit(SOON).success());
}

#[test]
fn a_listener_that_a_reload_removes_answers_what_it_was_asked_and_frees_its_port() {
    let echo = Echo::start_on(free_addr(), Duration::from_millis(300));
    let (front, other) = (free_addr(), free_addr());
    let pool = |config: Config| config.pool("main", &[echo.addr()], "");
    let balancer = Balancer::start(&pool(Config::new().udp_listener("main", front, "main", "")));
    let client = client(front);
    client.send(b"question").expect("sent");
    wait_until("it is under way", SOON, || echo.received() == 1);
    balancer.reload_done(&pool(Config::new().udp_listener("other", other, "main", "")));
    assert_eq!(hear(&client).expect("an answer"), format!("{}:question", echo.addr().port()).into_bytes());
    wait_until("the port is free", SOON, || UdpSocket::bind(front).is_ok());
    assert_eq!(flows_active(&balancer), 0.0);
}

fn udp(front: SocketAddr, echoes: &[Echo], keys: &str) -> Config {
    let backends: Vec<SocketAddr> = echoes.iter().map(Echo::addr).collect();
    Config::new().udp_listener("main", front, "main", keys).pool("main", &backends, "")
}

#[track_caller]
fn flows_active(balancer: &Balancer) -> f64 {
    balancer.metrics().sum("evenkeel_listener_flows_active", &[])
}

#[track_caller]
fn closed(balancer: &Balancer, reason: &str) -> f64 {
    balancer.metrics().sum("evenkeel_flows_closed_total", &[("reason", reason)])
}

#[track_caller]
fn dropped(balancer: &Balancer, reason: Option<&str>) -> f64 {
    let labels: Vec<(&str, &str)> = reason.map(|reason| ("reason", reason)).into_iter().collect();
    balancer.metrics().sum("evenkeel_datagrams_dropped_total", &labels)
}
