//! Envoy with its TCP proxy filter.

use std::path::PathBuf;

use super::peer::{Contest, HalfClose, Peer, Ready, from_cache, text, words};
use super::site::{AccessLog, Site};

/// Envoy ends connections over its circuit breakers, 1,024 of them by default.
const NO_BREAKER: u32 = 1_000_000;

pub(super) fn peer() -> Peer {
    Peer {
        name: "envoy",
        title: "Envoy's TCP proxy",
        contest: Contest::Proxies,
        program: from_cache("envoy/bin/envoy").unwrap_or_else(|| PathBuf::from("envoy")),
        remedy: "scripts/setup.sh --bench",
        module: None,
        version_flag: "--version",
        config,
        datagrams: Ok(datagrams),
        half_close: HalfClose::PassedOn,
        arguments: |site| {
            let fixed = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "critical", "--config-yaml"];
            // It tells formats apart by the names of files, and ours has one for all peers.
            let config = std::fs::read_to_string(site.config_file()).unwrap_or_default();
            [words(&fixed), vec![config]].concat()
        },
        access_log: AccessLog::Off,
        records: Site::access_log_file,
        ready: Ready::Listening { processes: 1 },
    }
}

/// The key of the TCP proxy that has it write its access log, or none.
fn access_log(site: &Site) -> String {
    match site.access_log {
        AccessLog::Off => String::new(),
        AccessLog::On => format!(
            r#"
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {}
              log_format:
                text_format_source:
                  inline_string: "%START_TIME% %DOWNSTREAM_REMOTE_ADDRESS% %UPSTREAM_HOST% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_FLAGS%\n""#,
            text(&site.access_log_file()),
        ),
    }
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
          idle_timeout: 3600s{access_log}
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
        access_log = access_log(site),
        listen = address(&site.listen),
        backends = site.each_backend(|_, addr| format!("        - endpoint: {{ address: {} }}", address(addr))),
    )
}

/// Envoy caps the sessions of a cluster like connections, and takes trains in one piece when told to.
fn datagrams(site: &Site) -> String {
    let address = |addr: &std::net::SocketAddr| {
        format!("{{ socket_address: {{ protocol: UDP, address: {}, port_value: {} }} }}", addr.ip(), addr.port())
    };
    format!(
        r#"static_resources:
  listeners:
  - name: bench
    address: {listen}
    enable_reuse_port: true
    udp_listener_config:
      downstream_socket_config: {{ prefer_gro: true, max_rx_datagram_size: 9000 }}
    socket_options:
    - {{ level: 1, name: 8, int_value: 1048576, state: STATE_PREBIND }}
    listener_filters:
    - name: envoy.filters.udp_listener.udp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
        stat_prefix: bench
        idle_timeout: 60s
        upstream_socket_config: {{ prefer_gro: true, max_rx_datagram_size: 9000 }}
        matcher:
          on_no_match:
            action:
              name: route
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route
                cluster: bench
  clusters:
  - name: bench
    type: STATIC
    lb_policy: ROUND_ROBIN
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
