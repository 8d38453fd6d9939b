//! Two real Redis servers behind consistent hashing: a client address stays with its server.

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Command;

use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::program;
use support::redis::{Redis, command, server_port};
use support::socket::connect_from;
use support::wait::SOON;

const REQUESTS: u64 = 100_000;

#[test]
fn one_client_address_always_lands_on_the_same_server() {
    let (servers, front) = ([Redis::start(), Redis::start()], free_addr());
    let balancer = Balancer::start(&config(front, &servers));
    let before = servers.each_ref().map(Redis::commands_processed);

    let output = Command::new(program::find("redis-benchmark", "redis-tools", []))
        .args(["-h", &front.ip().to_string(), "-p", &front.port().to_string()])
        .args(["-P", "16", "-c", "50", "-n", &REQUESTS.to_string(), "-t", "set,get", "-q"])
        .output()
        .expect("redis-benchmark starts");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("SET:") && said.contains("GET:"), "both tests have run: {said}");
    assert!(!said.contains("Error") && !errors.contains("Error"), "{said}{errors}");

    let after = servers.each_ref().map(Redis::commands_processed);
    let mut done = [after[0] - before[0], after[1] - before[1]];
    done.sort_unstable();
    assert!(done[1] >= 2 * REQUESTS, "one server has done it all: {done:?}");
    assert!(done[0] <= 2, "the other has seen nothing but our own questions: {done:?}");

    balancer.wait_idle(SOON);
    let metrics = balancer.metrics();
    let sessions: Vec<f64> = servers
        .iter()
        .map(|server| metrics.sum("evenkeel_backend_sessions_total", &[("backend", &server.addr().to_string())]))
        .collect();
    assert!(sessions.contains(&0.0), "one backend got every session: {sessions:?}");
}

#[test]
fn client_addresses_spread_over_both_and_each_stays() {
    let (servers, front) = ([Redis::start(), Redis::start()], free_addr());
    let _balancer = Balancer::start(&config(front, &servers));
    let land = |last| {
        let mut stream = connect_from(last, front);
        assert_eq!(command(&mut stream, "PING").trim(), "+PONG");
        server_port(&mut stream)
    };
    let first: HashMap<u8, u16> = (1..=64).map(|last| (last, land(last))).collect();
    for (&last, &port) in &first {
        assert_eq!(land(last), port, "127.0.0.{last} has moved");
    }
    for server in &servers {
        let share = first.values().filter(|&&port| port == server.addr().port()).count();
        // 64 addresses over two equal servers: fewer than 16 on one has a chance below 1 in 10,000, once and for all,
        // since nothing here is random but the ports.
        assert!(share >= 16, "{} got {share} of 64 addresses", server.addr());
    }
}

fn config(front: SocketAddr, servers: &[Redis; 2]) -> Config {
    Config::new().listener("redis", front, "redis", "").pool(
        "redis",
        &servers.each_ref().map(Redis::addr),
        "policy = \"maglev\"\nhash_key = \"source-ip\"",
    )
}
