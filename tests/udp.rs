//! Flows of datagrams through the real program: what arrives, where it goes, and when a flow ends.

mod support;

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;
use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, answered_by, ask, client, hear, hears_nothing};
use support::flows::{closed, dropped, flows_active, udp};
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
fn of_flows_for_single_datagrams_one_of_a_hundred_is_recorded() {
    let (echo, front) = (Echo::start(), free_addr());
    let keys = "per_packet = true\nflow_idle_timeout = \"1s\"";
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), keys));
    // Kept, so that none gets the port of one before.
    let clients: Vec<UdpSocket> = (0..250).map(|_| client(front)).collect();
    clients.iter().for_each(|client| assert_eq!(answered_by(client, b"q"), echo.addr().port()));
    wait_until("all are over", SOON, || closed(&balancer, "idle-timeout") == 250.0);
    // Each of two workers records the first, the hundred and first and so on of its own.
    wait_until("some are recorded", SOON, || balancer.log.sessions().len() >= 3);
    hold_for("no more are", Duration::from_millis(300), || (3..=4).contains(&balancer.log.sessions().len()));
    assert!(balancer.log.sessions().iter().all(|record| record.number("one_of") == 100.0));
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
    wait_until("all have had their answers", SOON, || closed(&balancer, "finished") == 10.0);
    assert_eq!(balancer.log.only_session().number("one_of"), 100.0);
    assert_eq!(balancer.log.sessions().len(), 1, "one of a hundred of these is recorded");
}

#[test]
fn a_silent_flow_ends_and_leaves_a_record_and_no_descriptor() {
    let echo = Echo::start();
    let front = free_addr();
    let config = |idle: &str| udp(front, std::slice::from_ref(&echo), &format!("flow_idle_timeout = \"{idle}\""));
    let balancer = Balancer::start(&config("10m"));
    let before = balancer.settled_descriptors();
    let client = client(front);
    ask(&client, b"hello").expect("an answer");
    assert_eq!(balancer.settled_descriptors().sockets, before.sockets + 1);
    // Patient until here, however slow the machine is.
    balancer.reload_done(&config("1s"));
    for _ in 0..2 {
        ask(&client, b"hello").expect("an answer");
    }
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("listener")), ("idle-timeout", "main"));
    assert_eq!((record.number("datagrams_up"), record.number("datagrams_down")), (3.0, 3.0));
    // Answers begin with the port and a colon.
    assert_eq!((record.number("bytes_up"), record.number("bytes_down")), (15.0, 33.0));
    let bytes = |direction| balancer.metrics().sum("evenkeel_backend_bytes_total", &[("direction", direction)]);
    assert_eq!((bytes("upstream"), bytes("downstream")), (15.0, 33.0));
    assert_eq!(record.text("client"), client.local_addr().expect("bound").to_string());
    assert_eq!(record.text("backend"), echo.addr().to_string());
    assert!(record.number("total_ms") >= 1_000.0, "{} ms", record.number("total_ms"));
    assert_eq!(balancer.settled_descriptors(), before);
    assert_eq!(flows_active(&balancer), 0.0);
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
