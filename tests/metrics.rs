//! The metrics of a running balancer, after sessions of every kind.

mod support;

use rustix::process::Signal;
use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, ask, client};
use support::flows::udp;
use support::metrics::HttpClient;
use support::port::free_addr;
use support::promtool;
use support::socket::{assert_echo, assert_refused, connect};
use support::wait::{SOON, wait_until};

/// What only a UDP listener or its backends have.
const FAMILIES_OF_UDP: [&str; 9] = [
    "evenkeel_listener_flows_active{",
    "evenkeel_listener_flows_total{",
    "evenkeel_flows_closed_total{",
    "evenkeel_datagrams_dropped_total{",
    "evenkeel_datagram_batch_size_bucket{",
    "evenkeel_datagrams_total{",
    "evenkeel_backend_flows_total{",
    "evenkeel_backend_unanswered_flows_total{",
    "evenkeel_backend_icmp_errors_total{",
];

#[test]
fn promtool_accepts_the_page_of_a_running_balancer() {
    let (front, dead_front, recorded, silent) = (free_addr(), free_addr(), free_addr(), free_addr());
    let (backend, echo, datagrams) = (Backend::start(Behaviour::Echo), Echo::start(), free_addr());
    let config = Config::new()
        .listener("l", front, "p", "")
        .listener("dead", dead_front, "dead", "")
        .listener("recorded", recorded, "p", "")
        .listener("silent", silent, "p", "access_log = false")
        .udp_listener("datagrams", datagrams, "echo", "requests = 1\nresponses = 1\naccess_log = false")
        .pool("p", &[backend.addr()], "")
        .pool("echo", &[echo.addr()], "")
        .health_check("p", 200, 100)
        .pool("dead", &[free_addr()], "");
    let balancer = Balancer::start(&config);
    for front in [front, recorded, silent] {
        assert_echo(&mut connect(front));
    }
    assert_refused(dead_front);
    ask(&client(datagrams), b"datagram").expect("an answer");
    balancer.wait_idle(SOON);

    let page = HttpClient::connect(balancer.admin()).expect("connects").get("/metrics").expect("answers");
    promtool::accept(&page.body);
    for family in FAMILIES_OF_UDP {
        let samples = page.body.lines().filter(|line| line.starts_with(family)).count();
        assert!(samples > 0, "{family} is not on the page");
    }

    let metrics = balancer.metrics();
    for listener in ["l", "recorded", "silent"] {
        let labels = [("listener", listener), ("reason", "finished")];
        assert_eq!(metrics.sum("evenkeel_sessions_closed_total", &labels), 1.0, "{listener}");
    }
    let refused = [("pool", "dead"), ("reason", "refused")];
    assert_eq!(metrics.sum("evenkeel_backend_connect_errors_total", &refused), 1.0);
    assert_eq!(metrics.value("evenkeel_log_records_dropped_total", &[]), 0.0);

    let sessions = balancer.log.first_sessions(3);
    assert_eq!(sessions.len(), 3, "one record for each session, and none where the access log is off");
    for record in sessions.iter().filter(|record| record.text("listener") != "dead") {
        let (connect, first, total) =
            (record.number("connect_ms"), record.number("first_byte_ms"), record.number("total_ms"));
        assert!(connect > 0.0 && first > 0.0 && total >= first, "{connect} {first} {total}");
    }
}

#[test]
fn datagrams_that_wait_together_are_received_together_and_counted_one_by_one() {
    const SENT: u32 = 100;
    let (echo, front) = (Echo::start(), free_addr());
    let balancer = Balancer::start(&udp(front, std::slice::from_ref(&echo), ""));
    let client = client(front);
    balancer.process.stop();
    for _ in 0..SENT {
        client.send(b"together").expect("sent");
    }
    balancer.process.signal(Signal::CONT);
    wait_until("all have passed", SOON, || echo.received() == u64::from(SENT));
    let batches = |what: &str| balancer.metrics().sum(&format!("evenkeel_datagram_batch_size_{what}"), &[]);
    wait_until("all are counted", SOON, || batches("sum") == f64::from(SENT));
    assert!((1.0..=4.0).contains(&batches("count")), "{} system calls", batches("count"));
    assert_eq!(balancer.metrics().sum("evenkeel_datagram_batch_size_bucket", &[("le", "1")]), 0.0);
}
