//! Envoy with its TCP proxy filter.

use std::env;
use std::path::PathBuf;

use super::{Contest, Peer, Ready, Site, words};

/// Envoy ends connections over its circuit breakers, 1,024 of them by default.
const NO_BREAKER: u32 = 1_000_000;

pub(super) fn peer() -> Peer {
    Peer {
        name: "envoy",
        title: "Envoy's TCP proxy",
        contest: Contest::Proxies,
        program: program(),
        remedy: "scripts/setup.sh --bench",
        module: None,
        version_flag: "--version",
        config,
        arguments: |site| {
            let fixed = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "critical", "--config-yaml"];
            [words(&fixed), vec![config(site)]].concat()
        },
        ready: Ready::Listening { processes: 1 },
    }
}

/// Where `scripts/setup.sh --bench` puts it, or else wherever it is on the PATH.
fn program() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let ours = cache.map(|cache| cache.join("evenkeel/envoy/bin/envoy"));
    ours.filter(|ours| ours.exists()).unwrap_or_else(|| "envoy".into())
}

fn config(site: &Site) -> String {
    let address = |addr: &std::net::SocketAddr| {
        format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", addr.ip(), addr.port())
    };
    format!(
        r#"static_resources:
  listeners:
  - name: bench
    address: {listen}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bench
          cluster: bench
          idle_timeout: 3600s
  clusters:
  - name: bench
    type: STATIC
    lb_policy: ROUND_ROBIN
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: {NO_BREAKER}, max_pending_requests: {NO_BREAKER}, max_requests: {NO_BREAKER} }}
    load_assignment:
      cluster_name: bench
      endpoints:
      - lb_endpoints:
{backends}"#,
        listen = address(&site.listen),
        backends = site.each_backend(|_, addr| format!("        - endpoint: {{ address: {} }}", address(addr))),
    )
}
