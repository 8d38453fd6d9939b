//! What bounds flows and datagrams, and what those get who ask for more or pretend to be somebody else.

mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, Spoofer, ask, client, client_from, hears_nothing};
use support::flows::{closed, dropped, flows_active, udp};
use support::port::{free_addr, free_port};
use support::wait::{SOON, hold_for, wait_until};

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
