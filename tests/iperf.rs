//! `iperf3 -u`: a stream of datagrams, steered over TCP on the same port.

mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::program;
use support::wait::{SOON, wait_until};

/// Gone when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _killed = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn a_stream_of_datagrams_passes_both_ways_beside_tcp_on_one_port() {
    let iperf = program::find("iperf3", "iperf3", [PathBuf::from("/usr/bin")]);
    let (backend, front) = (free_addr(), free_addr());
    let server = Command::new(&iperf)
        .args(["-s", "-B", &backend.ip().to_string(), "-p", &backend.port().to_string()])
        .stdout(Stdio::null())
        .spawn()
        .expect("iperf3 starts");
    let _server = Server(server);
    let config = Config::new()
        .listener("control", front, "main", "")
        .udp_listener("data", front, "main", "")
        .pool("main", &[backend], "")
        .health_check("main", 100, 100);
    let balancer = Balancer::start(&config);
    wait_until("it listens", SOON, || balancer.metrics().sum("evenkeel_backend_up", &[]) == 1.0);
    for direction in [&[][..], &["-R"]] {
        let output = Command::new(&iperf)
            .args(["-c", &front.ip().to_string(), "-p", &front.port().to_string(), "-u", "-b", "50M", "-t", "2", "-J"])
            .args(direction)
            .output()
            .expect("iperf3 runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON, as asked for");
        let sum = &report["end"]["sum"];
        let number = |key: &str| sum[key].as_f64().unwrap_or_else(|| panic!("no {key} in {report:#}"));
        assert!(number("packets") > 100.0, "{sum:#}");
        assert!(number("lost_packets") <= number("packets") / 1_000.0, "{sum:#}");
    }
    assert_eq!(balancer.metrics().sum("evenkeel_datagrams_dropped_total", &[]), 0.0);
}
