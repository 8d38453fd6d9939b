//! What bounds flows and datagrams, and what those get who ask for more or pretend to be somebody else.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;
use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Answers, Echo, Spoofer, ask, ask_in_vain, client, client_from, hear, hears_nothing};
use support::flows::{closed, dropped, flows_active, is_up, udp};
use support::metrics::{HttpClient, Metrics};
use support::port::{free_addr, free_port};
use support::wait::{SOON, hold_for, wait_until};

/// The longest datagram of IPv6, which has no header of its own to count into the length as IPv4 has.
const WIDEST_V6: usize = 65_527;

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
    established.iter().for_each(|client| assert!(ask(client, b"2").is_ok(), "its place is its own"));
    assert_eq!((echo.answered(), flows_active(&balancer)), (4, 4.0), "they are the flows that they were");
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
fn what_finds_no_backend_is_dropped_until_there_is_one() {
    let (echo, front) = (Echo::start(), free_addr());
    let config = |weight: u32| {
        let backend = format!("{{ address = \"{}\", weight = {weight} }}", echo.addr());
        Config::new().udp_listener("main", front, "main", "").pool_of("main", &backend, "").udp_check("main")
    };
    let balancer = Balancer::start(&config(1));
    wait_until("it is up", SOON, || is_up(&balancer, echo.addr()));
    echo.set(Answers::Nothing);
    wait_until("it is down", SOON, || !is_up(&balancer, echo.addr()));
    let client = client(front);
    client.send(b"1").expect("sent");
    wait_until("it is dropped", SOON, || dropped(&balancer, Some("no-backend")) == 1.0);
    echo.set(Answers::All);
    wait_until("it is up again", SOON, || is_up(&balancer, echo.addr()));
    assert!(ask(&client, b"2").is_ok());
    balancer.reload_done(&config(0));
    client_from(Ipv4Addr::new(127, 0, 0, 9).into(), front).send(b"3").expect("sent");
    wait_until("it is dropped", SOON, || dropped(&balancer, Some("no-backend")) == 2.0);
    assert!(ask(&client, b"4").is_ok(), "the flow of one that drains goes on");
    assert_eq!(flows_active(&balancer), 1.0);
}

#[test]
fn what_the_other_side_has_no_room_for_is_dropped_alone() {
    let v6 = |port: u16| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let wide = vec![b'w'; WIDEST_V6];
    let echo = Echo::start();
    let front = v6(free_port());
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), ""));
    let client_v6 = client(front);
    client_v6.send(&wide).expect("IPv6 takes it");
    wait_until("IPv4 does not", SOON, || dropped(&balancer, Some("send-error")) == 1.0);
    assert!(ask(&client_v6, b"narrow").is_ok(), "the flow goes on");
    drop(balancer);

    let backend = UdpSocket::bind(v6(free_port())).expect("free");
    let front = free_addr();
    let backend_addr = backend.local_addr().expect("bound");
    let balancer =
        Balancer::start(&Config::new().udp_listener("main", front, "main", "").pool("main", &[backend_addr], ""));
    let client_v4 = client(front);
    client_v4.send(b"question").expect("sent");
    let (_, flow) = backend.recv_from(&mut [0; 16]).expect("the question");
    for answer in [&b"before"[..], &wide, b"after"] {
        backend.send_to(answer, flow).expect("sent");
    }
    assert_eq!(hear(&client_v4).expect("an answer"), b"before");
    assert_eq!(hear(&client_v4).expect("an answer"), b"after");
    // Counted once the rest is sent.
    wait_until("the one between is counted", SOON, || dropped(&balancer, Some("send-error")) == 1.0);
}

#[test]
fn what_the_receive_buffer_has_no_room_for_is_counted_to_the_last_datagram() {
    const SENT: u32 = 5_000;
    let (echo, front) = (Echo::start(), free_addr());
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), "receive_buffer = \"64KiB\""));
    let client = client(front);
    balancer.process.stop();
    for _ in 0..SENT {
        client.send(&[0; 100]).expect("sent");
    }
    balancer.process.signal(Signal::CONT);
    let mut asked = 0;
    wait_until("all are accounted for", SOON, || {
        // The kernel says with each datagram how many it has dropped before that one.
        asked += 1;
        let _answer = ask_in_vain(&client, b"and now?");
        let metrics = balancer.metrics();
        let received = metrics.sum("evenkeel_datagram_batch_size_sum", &[]);
        let lost = metrics.sum("evenkeel_datagrams_dropped_total", &[("reason", "receive-buffer-overrun")]);
        assert!(received > 0.0 && lost <= f64::from(SENT), "{received} received and {lost} lost");
        lost > 0.0 && received + lost == f64::from(SENT + asked)
    });
}

#[test]
fn who_comes_while_the_process_stops_is_turned_away_and_who_is_there_is_served() {
    let (echo, front) = (Echo::start(), free_addr());
    let mut balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), ""));
    let settled = client(front);
    ask(&settled, b"1").expect("an answer");
    balancer.process.signal(Signal::TERM);
    wait_until("a newcomer is turned away", SOON, || {
        let _early = ask_in_vain(&client(front), b"new");
        dropped(&balancer, Some("draining")) >= 1.0
    });
    assert!(ask(&settled, b"2").is_ok(), "it came before");
    balancer.process.signal(Signal::TERM);
    balancer.wait_exit(SOON);
}

#[test]
fn without_descriptors_no_flow_begins_and_those_that_there_are_go_on() {
    let (echo, front) = (Echo::start(), free_addr());
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), ""));
    let settled = client(front);
    ask(&settled, b"1").expect("an answer");
    // A connection that is open already needs no descriptor.
    let mut admin = HttpClient::connect(balancer.admin()).expect("connects");
    let mut lacking = || {
        let page = admin.get("/metrics").expect("answers");
        Metrics::parse(&page.body).sum("evenkeel_datagrams_dropped_total", &[("reason", "no-resources")])
    };
    assert_eq!(lacking(), 0.0);
    balancer.process.limit_descriptors(balancer.process.next_descriptor());
    let newcomer = client(front);
    newcomer.send(b"new").expect("sent");
    wait_until("it is turned away", SOON, || lacking() == 1.0);
    assert!(ask(&settled, b"2").is_ok(), "it needs no more than it has");
    balancer.process.limit_descriptors(1_024);
    assert!(ask(&newcomer, b"again").is_ok());
    wait_until("the log says so", SOON, || {
        balancer.log.events().iter().any(|event| event.message() == "flows cannot begin, out of resources")
    });
}

#[test]
fn the_receive_buffer_that_the_kernel_grants_is_said_once() {
    let (echo, front) = (Echo::start(), free_addr());
    let config = |keys: &str| udp(front, std::slice::from_ref(&echo), &format!("receive_buffer = \"128KiB\"\n{keys}"));
    let balancer = Balancer::start(&config(""));
    ask(&client(front), b"1").expect("an answer");
    balancer.reload_done(&config("max_flows = 10"));
    ask(&client(front), b"2").expect("an answer");
    let events = balancer.log.events();
    let said: Vec<_> = events.iter().filter(|event| event.message() == "receive buffer of each worker").collect();
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].text("addr"), said[0].number("bytes")), (&*front.to_string(), 131_072.0));
}
