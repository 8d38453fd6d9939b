//! Which backend a flow has: what becomes of it when that one dies or falls silent.

mod support;

use std::net::UdpSocket;

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, answered_by, ask_again, client, hears_nothing};
use support::flows::udp;
use support::port::free_addr;
use support::wait::{SOON, wait_until};

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
