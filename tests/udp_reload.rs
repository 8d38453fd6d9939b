//! What a reload does to flows: nothing to those of what stays.

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, answered_by, client, hear};
use support::flows::{dropped, flows_active};
use support::port::free_addr;
use support::wait::{SOON, wait_until};

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
