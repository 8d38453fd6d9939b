//! What a reload does to flows: nothing to those of what stays.

mod support;

use std::net::UdpSocket;
use std::time::Duration;

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Answers, Echo, answered_by, ask_in_vain, client, hear};
use support::flows::{dropped, flows_active};
use support::port::free_addr;
use support::wait::{SOON, hold_for, wait_for, wait_until};

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

/// What a reload does to the backend of a flow.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// It is taken out of the pool, in which there is another one.
    Removed,
    /// It is another machine under the same name.
    Readdressed,
}

#[test]
fn flows_of_a_backend_that_a_reload_takes_away_move_or_stick_as_the_listener_says() {
    for change in [Change::Removed, Change::Readdressed] {
        for policy in ["move", "lame-duck", "stick"] {
            let (old, new, front) = (Echo::start(), Echo::start(), free_addr());
            let config = |backends: &str| {
                let keys = format!("on_backend_down = \"{policy}\"");
                Config::new().udp_listener("main", front, "main", &keys).pool_of("main", backends, "")
            };
            let backend = |name: &str, echo: &Echo, weight: u32| {
                format!("{{ name = \"{name}\", address = \"{}\", weight = {weight} }}", echo.addr())
            };
            let (before, after) = match change {
                Change::Removed => {
                    ([backend("one", &old, 1), backend("other", &new, 0)].join(", "), backend("other", &new, 1))
                }
                Change::Readdressed => (backend("one", &old, 1), backend("one", &new, 1)),
            };
            let balancer = Balancer::start(&config(&before));
            let flow = client(front);
            assert_eq!(answered_by(&flow, b"1"), old.addr().port());
            balancer.reload_done(&config(&after));
            assert_eq!(answered_by(&client(front), b"new"), new.addr().port(), "{change:?}, {policy}");
            if policy == "move" {
                assert_eq!(answered_by(&flow, b"2"), new.addr().port(), "{change:?}");
                continue;
            }
            let period = Duration::from_millis(1_500);
            hold_for("the old one answers", period, || answered_by(&flow, b"2") == old.addr().port());
            old.set(Answers::Nothing);
            if policy == "stick" {
                hold_for("nobody else answers", period, || ask_in_vain(&flow, b"3").is_none());
            } else {
                let reply = wait_for("the flow has an answer again", SOON, || ask_in_vain(&flow, b"3"));
                assert_eq!(reply, format!("{}:3", new.addr().port()).into_bytes(), "{change:?}, {policy}");
            }
        }
    }
}

#[test]
fn what_a_backend_was_asked_before_a_reload_takes_it_away_is_answered() {
    for change in [Change::Removed, Change::Readdressed] {
        for keys in ["", "requests = 1\nresponses = 1", "per_packet = true"] {
            let old = Echo::start_on(free_addr(), Duration::from_millis(300));
            let (new, front) = (Echo::start(), free_addr());
            let config = |name: &str, echo: &Echo| {
                let backend = format!("{{ name = \"{name}\", address = \"{}\" }}", echo.addr());
                Config::new().udp_listener("main", front, "main", keys).pool_of("main", &backend, "")
            };
            let balancer = Balancer::start(&config("one", &old));
            let client = client(front);
            client.send(b"1").expect("sent");
            wait_until("it is under way", SOON, || old.received() == 1);
            balancer.reload_done(&match change {
                Change::Removed => config("other", &new),
                Change::Readdressed => config("one", &new),
            });
            client.send(b"2").expect("sent");
            let mut heard = [(), ()].map(|()| {
                let answer = hear(&client).unwrap_or_else(|error| panic!("{change:?}, {keys:?}: {error}"));
                String::from_utf8(answer).expect("text")
            });
            // The second backend answers at once.
            heard.sort_by_key(|answer| answer.ends_with('2'));
            let expected = [(&old, 1), (&new, 2)].map(|(echo, request)| format!("{}:{request}", echo.addr().port()));
            assert_eq!(heard, expected, "{change:?}, {keys:?}");
        }
    }
}

/// What a reload does to the pool of a listener, whose backends stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repooling {
    /// The pool has another name.
    Renamed,
    /// The listener has another pool, and both stay.
    Replaced,
}

#[test]
fn flows_stay_when_their_listener_has_another_pool_and_obey_its_probes() {
    for repooling in [Repooling::Renamed, Repooling::Replaced] {
        let (echoes, front) = ([Echo::start(), Echo::start()], free_addr());
        let config = |used: &str| {
            let pools = if repooling == Repooling::Renamed { vec![used] } else { vec!["before", "after"] };
            let pool = |config: Config, name| config.pool(name, &echoes.each_ref().map(Echo::addr), "").udp_check(name);
            pools.into_iter().fold(Config::new().udp_listener("main", front, used, ""), pool)
        };
        let balancer = Balancer::start(&config("before"));
        let up = |pool: &str, echo: &Echo| {
            let labels = [("pool", pool), ("backend", &*echo.addr().to_string())];
            balancer.metrics().sum("evenkeel_backend_up", &labels) == 1.0
        };
        wait_until("both are up", SOON, || echoes.iter().all(|echo| up("before", echo)));
        let flows: Vec<UdpSocket> = (0..8).map(|_| client(front)).collect();
        let homes: Vec<u16> = flows.iter().map(|flow| answered_by(flow, b"1")).collect();

        balancer.reload_done(&config("after"));
        wait_until("both are up", SOON, || echoes.iter().all(|echo| up("after", echo)));
        for _ in 0..3 {
            let now: Vec<u16> = flows.iter().map(|flow| answered_by(flow, b"2")).collect();
            assert_eq!(now, homes, "{repooling:?}: the machines are the same");
        }

        let [gone, staying] = &echoes;
        gone.set(Answers::Nothing);
        wait_until("it is down", SOON, || !up("after", gone));
        for flow in &flows {
            let reply = wait_for("the flow has an answer", SOON, || ask_in_vain(flow, b"3"));
            assert_eq!(reply, format!("{}:3", staying.addr().port()).into_bytes(), "{repooling:?}");
        }
    }
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
