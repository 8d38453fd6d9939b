//! nginx with its stream module.

use std::path::PathBuf;

use super::peer::{Contest, HalfClose, MAX_CONNECTIONS, MAX_FLOWS, Peer, Ready, text, words};
use super::site::{AccessLog, Site};

/// Where Debian's `libnginx-mod-stream` puts it.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) fn peer() -> Peer {
    Peer {
        name: "nginx",
        title: "nginx stream",
        contest: Contest::Proxies,
        program: PathBuf::from("nginx"),
        remedy: "apt-get install nginx libnginx-mod-stream",
        module: Some(NGINX_STREAM),
        version_flag: "-v",
        config,
        datagrams: Ok(datagrams),
        half_close: HalfClose::PassedOn,
        arguments: |site| words(&["-e", "stderr", "-p", &text(&site.dir), "-c", &text(&site.config_file())]),
        access_log: AccessLog::Off,
        records: Site::access_log_file,
        ready: Ready::Listening { processes: 2 },
    }
}

/// Each record is written by itself, as it is unless a buffer is asked for.
fn access_log(site: &Site) -> String {
    match site.access_log {
        AccessLog::Off => "access_log off;".into(),
        AccessLog::On => format!(
            "log_format session '$time_iso8601 $remote_addr:$remote_port $upstream_addr $upstream_bytes_sent $bytes_sent '
                       '$upstream_connect_time $upstream_first_byte_time $session_time $status';
    access_log {} session;",
            text(&site.access_log_file()),
        ),
    }
}

/// `proxy_half_close` as the others do it: without it nginx drops what is on its way when one side ends.
fn config(site: &Site) -> String {
    format!(
        "load_module {NGINX_STREAM};
user root;
daemon off;
pid nginx.pid;
error_log stderr crit;
worker_processes 1;
worker_rlimit_nofile {descriptors};
events {{
    use epoll;
    worker_connections {descriptors};
}}
stream {{
    {access_log}
    upstream bench {{
{backends}    }}
    server {{
        listen {listen} reuseport backlog=4096;
        tcp_nodelay on;
        proxy_connect_timeout 5s;
        proxy_timeout 1h;
        proxy_half_close on;
        proxy_pass bench;
    }}
}}
",
        descriptors = 2 * MAX_CONNECTIONS + 200,
        access_log = access_log(site),
        listen = site.listen,
        backends = site.each_backend(|_, addr| format!("        server {addr};")),
    )
}

/// A session of UDP takes two connections of nginx's, and a descriptor.
fn datagrams(site: &Site) -> String {
    format!(
        "load_module {NGINX_STREAM};
user root;
daemon off;
pid nginx.pid;
error_log stderr crit;
worker_processes 1;
worker_rlimit_nofile {MAX_FLOWS};
events {{
    use epoll;
    worker_connections {connections};
}}
stream {{
    access_log off;
    upstream bench {{
{backends}    }}
    server {{
        listen {listen} udp reuseport rcvbuf=1m;
        proxy_timeout 60s;
        proxy_pass bench;
    }}
}}
",
        connections = 2 * MAX_FLOWS + 200,
        listen = site.listen,
        backends = site.each_backend(|_, addr| format!("        server {addr};")),
    )
}
