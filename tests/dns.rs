//! Real name servers under real load, over both families: what a kill, a reload and a drain cost.

mod support;

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::balancer::Balancer;
use support::config::Config;
use support::knot::Knot;
use support::port::{free_addr, free_port};
use support::program;
use support::wait::{SOON, wait_for, wait_until};
use tempfile::TempDir;

/// Questions that may be under way at any moment: so many answers may a kill cost, and no more.
const OUTSTANDING: u64 = 60;

/// How long the load lasts; everything happens in the middle of it.
const SECONDS: u32 = 5;

/// Listeners as their users have them: flows, questions one by one, and a backend for each question.
const WAYS: [&str; 3] = ["", "requests = 1\nresponses = 1", "per_packet = true"];

#[test]
fn a_reload_and_a_drain_cost_no_answer() {
    for keys in WAYS {
        let (addrs, front) = ([free_addr(), free_addr()], free_addr());
        let _servers = addrs.map(Knot::start);
        let balancer = start(&config(front, &backends(addrs, 1), keys), 2);
        let load = Load::start(front);
        load.wait_until_under_way(&balancer);
        for round in 0..10 {
            balancer.reload_done(&config(front, &backends(addrs, 1 + round % 2), keys));
        }
        balancer.reload_done(&config(front, &backends(addrs, 0), keys));
        let (sent, lost) = load.finish();
        assert!(sent > 1_000, "{sent} questions");
        assert_eq!(lost, 0, "of {sent} questions, with {keys:?}");
    }
}

#[test]
fn a_reload_that_removes_a_backend_costs_no_answer() {
    for keys in WAYS {
        let (addrs, front) = ([free_addr(), free_addr()], free_addr());
        let _servers = addrs.map(Knot::start);
        let balancer = start(&config(front, &backends(addrs, 1), keys), 2);
        let is_known = |servers: u32| balancer.metrics().sum("evenkeel_backend_up", &[]) == f64::from(servers);
        let load = Load::start(front);
        load.wait_until_under_way(&balancer);
        for _ in 0..3 {
            balancer.reload_done(&config(front, &format!("\"{}\"", addrs[1]), keys));
            wait_until("one is left", SOON, || is_known(1));
            balancer.reload_done(&config(front, &backends(addrs, 1), keys));
            wait_until("there are two again", SOON, || is_known(2));
        }
        let (sent, lost) = load.finish();
        assert!(sent > 1_000, "{sent} questions");
        assert_eq!(lost, 0, "of {sent} questions, with {keys:?}");
    }
}

#[test]
fn a_kill_costs_no_more_than_what_was_under_way() {
    for keys in WAYS {
        let (addrs, front) = ([free_addr(), free_addr()], free_addr());
        let [killed, _survivor] = addrs.map(Knot::start);
        let balancer = start(&config(front, &backends(addrs, 1), keys), 2);
        let load = Load::start(front);
        load.wait_until_under_way(&balancer);
        drop(killed);
        let (sent, lost) = load.finish();
        assert!(sent > 1_000, "{sent} questions");
        assert!(lost <= OUTSTANDING, "{lost} of {sent} questions were lost, with {keys:?}");
        let down = [("backend", &*addrs[0].to_string())];
        wait_until("it is known to be down", SOON, || balancer.metrics().value("evenkeel_backend_up", &down) == 0.0);
    }
}

#[test]
fn kdig_has_its_answer_over_ipv6() {
    let backend = SocketAddr::from((Ipv6Addr::LOCALHOST, free_port()));
    let _server = Knot::start(backend);
    let port = free_port();
    let balancer = start(&config(format!("[::]:{port}"), &format!("\"{backend}\""), ""), 1);
    let kdig = Command::new(program::find("kdig", "knot-dnsutils", []))
        .args(["@::1", "-p", &port.to_string(), "+notcp", "+short", "www.example.test", "A"])
        .output()
        .expect("kdig runs");
    assert_eq!(String::from_utf8_lossy(&kdig.stdout).trim(), "192.0.2.2", "{}", String::from_utf8_lossy(&kdig.stderr));
    assert_eq!(balancer.metrics().sum("evenkeel_listener_flows_total", &[]), 1.0);
}

fn backends([first, second]: [SocketAddr; 2], weight: u32) -> String {
    format!("{{ address = \"{first}\", weight = {weight} }}, \"{second}\"")
}

fn config(front: impl std::fmt::Display, backends: &str, keys: &str) -> Config {
    let check = "[pools.main.health_check]\ntype = \"dns\"\nquery = \"example.test\"\nrecord = \"SOA\"\n\
                 interval = \"500ms\"\ntimeout = \"500ms\"\nrise = 1\nfall = 2";
    Config::new().udp_listener("main", front, "main", keys).pool_of("main", backends, check)
}

/// Once `servers` name servers answer.
fn start(config: &Config, servers: u32) -> Balancer {
    let balancer = Balancer::start(config);
    wait_until("the name servers answer", SOON, || {
        balancer.metrics().sum("evenkeel_backend_up", &[]) == f64::from(servers)
    });
    balancer
}

/// `dnsperf` at work.
struct Load {
    child: Child,
    _questions: TempDir,
}

impl Load {
    fn start(front: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let questions = directory.path().join("questions");
        fs::write(&questions, "www.example.test A\nns.example.test A\nnothing.example.test A\n")
            .expect("our directory");
        let child = Command::new(program::find("dnsperf", "dnsperf", [PathBuf::from("/usr/bin")]))
            .args(["-s", &front.ip().to_string(), "-p", &front.port().to_string(), "-d"])
            .arg(&questions)
            .args(["-l", &SECONDS.to_string(), "-c", "4", "-t", "1", "-q", &OUTSTANDING.to_string(), "-Q", "5000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsperf starts");
        Self { child, _questions: directory }
    }

    fn wait_until_under_way(&self, balancer: &Balancer) {
        wait_for("questions are answered", SOON, || {
            let answers = balancer.metrics().sum("evenkeel_datagrams_total", &[("direction", "downstream")]);
            (answers > 500.0).then_some(())
        });
    }

    /// Questions sent and questions lost.
    fn finish(self) -> (u64, u64) {
        let output = self.child.wait_with_output().expect("our own child");
        let report = String::from_utf8_lossy(&output.stdout);
        let number = |label: &str| {
            let line = report.lines().find(|line| line.trim_start().starts_with(label));
            let number = line.and_then(|line| line.split_whitespace().nth(2)).and_then(|word| word.parse().ok());
            number.unwrap_or_else(|| panic!("dnsperf reports {label:?}:\n{report}"))
        };
        (number("Queries sent:"), number("Queries lost:"))
    }
}
