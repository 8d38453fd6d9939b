//! Every policy with flows: they are spread, stay where they are, and give their load back.

mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, answered_by, client_from};
use support::port::free_addr;
use support::wait::SOON;

const POLICIES: [&str; 6] = ["round-robin", "least-connections", "random", "power-of-two", "least-latency", "maglev"];

/// Each from an address of its own.
const CLIENTS: u8 = 60;

#[test]
fn every_policy_spreads_flows_and_counts_them_at_their_backends() {
    let echoes = [Echo::start(), Echo::start(), Echo::start()];
    for policy in POLICIES {
        let front = free_addr();
        let balancer = Balancer::start(&config(front, &echoes, policy, "10m"));
        let clients: Vec<UdpSocket> = (0..CLIENTS).map(|number| client(number, front)).collect();
        let homes: Vec<u16> = clients.iter().map(|client| answered_by(client, b"1")).collect();
        let counts = count(&homes);
        assert_eq!(counts.len(), 3, "{policy}: {counts:?}");
        if matches!(policy, "round-robin" | "least-connections") {
            assert!(counts.values().all(|count| *count == 20), "{policy}: {counts:?}");
        }
        let metrics = balancer.metrics();
        for (port, count) in counts {
            let backend = [("backend", &*format!("127.0.0.1:{port}"))];
            assert_eq!(metrics.value("evenkeel_backend_sessions_active", &backend), f64::from(count), "{policy}");
        }

        balancer.reload_done(&config(front, &echoes, policy, "1s"));
        let again: Vec<u16> = clients.iter().map(|client| answered_by(client, b"2")).collect();
        assert_eq!(again, homes, "{policy} does not move what flows already");
        balancer.wait_idle(SOON);
        let anew: Vec<u16> = clients.iter().map(|client| answered_by(client, b"3")).collect();
        match policy {
            "least-connections" => assert!(count(&anew).values().all(|count| *count == 20), "load was left over"),
            "maglev" => assert_eq!(anew, homes, "the same clients go to the same backends"),
            _ => assert_eq!(count(&anew).len(), 3, "{policy}"),
        }
    }
}

#[test]
fn maglev_gives_a_client_the_same_backend_from_any_port_and_in_every_process() {
    let echoes = [Echo::start(), Echo::start(), Echo::start()];
    let fronts = [free_addr(), free_addr()];
    let _balancers = fronts.map(|front| Balancer::start(&config(front, &echoes, "maglev", "10m")));
    for number in 0..CLIENTS {
        let home = answered_by(&client(number, fronts[0]), b"1");
        for front in [fronts[0], fronts[1]] {
            assert_eq!(answered_by(&client(number, front), b"2"), home, "client {number}");
        }
    }
}

fn config(front: SocketAddr, echoes: &[Echo; 3], policy: &str, idle: &str) -> Config {
    let backends = echoes.each_ref().map(Echo::addr);
    Config::new().udp_listener("main", front, "main", &format!("flow_idle_timeout = \"{idle}\"")).pool(
        "main",
        &backends,
        &format!("policy = \"{policy}\""),
    )
}

fn client(number: u8, front: SocketAddr) -> UdpSocket {
    client_from(Ipv4Addr::new(127, 0, 1, number).into(), front)
}

/// How often each of `ports` comes up.
fn count(ports: &[u16]) -> BTreeMap<u16, u32> {
    let mut counts = BTreeMap::new();
    ports.iter().for_each(|port| *counts.entry(*port).or_default() += 1);
    counts
}
