//! Probes over UDP: what answers is up, what is silent, refuses or fails is down.

mod support;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, client};
use support::knot::Knot;
use support::metrics::{HttpClient, Metrics};
use support::namespace::in_namespace;
use support::port::free_addr;
use support::socket::{addr_of, listen};
use support::wait::{SOON, wait_until};

const UDP: &str = "type = \"udp\"\nsend = \"ping\"\nexpect_hex = \"70 6f\"";

#[test]
fn what_answers_as_expected_is_up_and_what_is_silent_or_odd_is_not() {
    let (good, odd, silent) = (answering(b"pong"), answering(b"nope"), udp_socket());
    let silent_addr = silent.local_addr().expect("is bound");
    let balancer = start(&[good, odd, silent_addr], UDP);
    wait_until("the good one is up", SOON, || is_up(&balancer, good));
    wait_until("the others have failed", SOON, || failed(&balancer, odd) > 0.0 && failed(&balancer, silent_addr) > 0.0);
    assert!(!is_up(&balancer, odd) && !is_up(&balancer, silent_addr));
}

#[test]
fn a_refusing_port_fails_at_once() {
    let nobody = udp_socket().local_addr().expect("is bound");
    let patient = UDP.to_owned() + "\ninterval = \"60s\"\ntimeout = \"60s\"";
    let started = Instant::now();
    let balancer = start_with(&[nobody], &patient);
    wait_until("the probe has failed", SOON, || failed(&balancer, nobody) > 0.0);
    assert!(started.elapsed() < Duration::from_secs(30), "it waited for an answer");
}

#[test]
fn a_name_server_is_up_when_it_answers_and_down_when_it_is_killed() {
    let addr = free_addr();
    let knot = Knot::start(addr);
    let query = |name: &str, rcode: &str| format!("type = \"dns\"\nquery = \"{name}\"\nrecord = \"SOA\"\n{rcode}");
    let balancer = start(&[addr], &query("example.test", "rcode = \"NOERROR\""));
    wait_until("it is up", SOON, || is_up(&balancer, addr));
    let missing = start(&[addr], &query("nothing.example.test", "rcode = \"NXDOMAIN\""));
    wait_until("the name that does not exist does not", SOON, || is_up(&missing, addr));
    let broken = start(&[addr], &query("broken.test", ""));
    wait_until("SERVFAIL fails", SOON, || failed(&broken, addr) > 0.0);
    assert!(!is_up(&broken, addr));
    drop(knot);
    wait_until("it is down", SOON, || !is_up(&balancer, addr));
}

#[test]
fn a_tcp_probe_may_watch_another_port() {
    let (watched, nobody) = (listen(), free_addr());
    let keys = format!("type = \"tcp\"\nport = {}", addr_of(&watched).port());
    let balancer = start(&[nobody], &keys);
    wait_until("it is up", SOON, || is_up(&balancer, nobody));
    drop(watched);
    wait_until("it is down", SOON, || !is_up(&balancer, nobody));
}

#[test]
fn clients_without_an_answer_take_down_what_a_probe_finds_well() {
    let (service, echo, watched, front) = (udp_socket(), Echo::start(), listen(), free_addr());
    let silent = service.local_addr().expect("is bound");
    let active = format!(
        "[pools.main.health_check]\nport = {}\ninterval = \"100ms\"\ntimeout = \"100ms\"\n",
        addr_of(&watched).port()
    );
    let passive = "[pools.main.passive_check]\nunanswered = 2\nflows = 2\nwindow = \"1s\"\neject_for = \"60s\"";
    let config =
        Config::new().udp_listener("main", front, "main", "").pool("main", &[silent, echo.addr()], &(active + passive));
    let balancer = Balancer::start(&config);
    wait_until("the probes pass", SOON, || is_up(&balancer, silent));
    // The first time the probes have the last word; the second time they have it a minute later.
    for time in ["first", "second"] {
        let clients: Vec<UdpSocket> = (0..8).map(|_| client(front)).collect();
        for _ in 0..2 {
            clients.iter().for_each(|client| drop(client.send(b"anybody?")));
        }
        wait_until(&format!("it is down for the {time} time"), SOON, || !is_up(&balancer, silent));
        if time == "first" {
            wait_until("it is back", SOON, || is_up(&balancer, silent));
        }
    }
    let before = passed(&balancer, silent);
    wait_until("more probes pass than it takes", SOON, || passed(&balancer, silent) >= before + 4.0);
    assert!(!is_up(&balancer, silent));
    assert!(is_up(&balancer, echo.addr()));
}

#[test]
fn a_probe_that_reaches_itself_reaches_nobody() {
    in_namespace("a_probe_that_reaches_itself_reaches_nobody", || {
        // Nobody listens, and it is the only port that the kernel has for whoever connects.
        let nobody = free_addr();
        let balancer = start(&[nobody], "type = \"tcp\"");
        let mut admin = HttpClient::connect(balancer.admin()).expect("the admin address answers");
        let port = nobody.port();
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{port} {port}")).expect("the namespace is ours");
        let mut count = |result: &str| {
            let page = admin.get("/metrics").expect("an open connection takes no port").body;
            Metrics::parse(&page).sum("evenkeel_health_checks_total", &[("result", result)])
        };
        let before = count("failed");
        wait_until("probes have failed", SOON, || count("failed") >= before + 3.0);
        assert_eq!(count("passed"), 0.0);
    });
}

fn start(backends: &[SocketAddr], check: &str) -> Balancer {
    start_with(backends, &format!("{check}\ninterval = \"100ms\"\ntimeout = \"100ms\""))
}

fn start_with(backends: &[SocketAddr], check: &str) -> Balancer {
    let config = Config::new().listener("main", free_addr(), "main", "").pool(
        "main",
        backends,
        &format!("[pools.main.health_check]\n{check}"),
    );
    Balancer::start(&config)
}

fn udp_socket() -> UdpSocket {
    UdpSocket::bind(free_addr()).expect("the port is free")
}

/// A backend that answers every datagram with `answer`.
fn answering(answer: &'static [u8]) -> SocketAddr {
    let socket = udp_socket();
    let addr = socket.local_addr().expect("is bound");
    thread::spawn(move || {
        let mut request = [0; 64];
        while let Ok((_, client)) = socket.recv_from(&mut request) {
            let _sent = socket.send_to(answer, client);
        }
    });
    addr
}

#[track_caller]
fn is_up(balancer: &Balancer, backend: SocketAddr) -> bool {
    balancer.metrics().value("evenkeel_backend_up", &[("backend", &backend.to_string())]) == 1.0
}

#[track_caller]
fn passed(balancer: &Balancer, backend: SocketAddr) -> f64 {
    probes(balancer, backend, "passed")
}

#[track_caller]
fn failed(balancer: &Balancer, backend: SocketAddr) -> f64 {
    probes(balancer, backend, "failed")
}

#[track_caller]
fn probes(balancer: &Balancer, backend: SocketAddr, result: &str) -> f64 {
    let labels = [("backend", &*backend.to_string()), ("result", result)];
    balancer.metrics().sum("evenkeel_health_checks_total", &labels)
}
