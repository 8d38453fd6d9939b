//! Listeners of datagrams, and what the balancer counts of their flows.

use std::net::SocketAddr;

use super::balancer::Balancer;
use super::config::Config;
use super::datagram::Echo;

/// One UDP listener at `front` with these keys, and `echoes` behind it.
pub fn udp(front: SocketAddr, echoes: &[Echo], keys: &str) -> Config {
    let backends: Vec<SocketAddr> = echoes.iter().map(Echo::addr).collect();
    Config::new().udp_listener("main", front, "main", keys).pool("main", &backends, "")
}

/// Flows of all listeners now.
#[track_caller]
pub fn flows_active(balancer: &Balancer) -> f64 {
    balancer.metrics().sum("evenkeel_listener_flows_active", &[])
}

/// Flows that are over for this reason.
#[track_caller]
pub fn closed(balancer: &Balancer, reason: &str) -> f64 {
    balancer.metrics().sum("evenkeel_flows_closed_total", &[("reason", reason)])
}

/// Datagrams that went nowhere, for this reason or for any.
#[track_caller]
pub fn dropped(balancer: &Balancer, reason: Option<&str>) -> f64 {
    let labels: Vec<(&str, &str)> = reason.map(|reason| ("reason", reason)).into_iter().collect();
    balancer.metrics().sum("evenkeel_datagrams_dropped_total", &labels)
}

/// Whether this backend is up, of whichever pool it is.
#[track_caller]
pub fn is_up(balancer: &Balancer, backend: SocketAddr) -> bool {
    balancer.metrics().value("evenkeel_backend_up", &[("backend", &backend.to_string())]) == 1.0
}
