//! sozu with a TCP frontend, as `cargo install` builds it: without its splice feature.

use std::path::PathBuf;

use super::peer::{Contest, HalfClose, MAX_CONNECTIONS, Peer, Ready, from_cache, text, words};
use super::site::{AccessLog, Site};

/// Without and with its access log.
pub(super) fn peers() -> [Peer; 2] {
    [peer(), peer().with_access_log("sozu-log", "sozu's TCP proxy with its access log")]
}

fn peer() -> Peer {
    Peer {
        name: "sozu",
        title: "sozu's TCP proxy",
        contest: Contest::Proxies,
        program: from_cache("sozu/bin/sozu").unwrap_or_else(|| PathBuf::from("sozu")),
        remedy: "scripts/setup.sh --bench",
        module: None,
        version_flag: "--version",
        config,
        datagrams: Err("sozu takes clusters over UDP from its command socket only"),
        half_close: HalfClose::EndsAll,
        arguments: |site| words(&["start", "-c", &text(&site.config_file())]),
        access_log: AccessLog::Off,
        records: Site::access_log_file,
        ready: Ready::Listening { processes: 2 },
    }
}

/// Records have the level `info`, so that a higher level turns them off. Each session takes two buffers.
fn config(site: &Site) -> String {
    let log = match site.access_log {
        AccessLog::Off => "log_level = \"error\"".into(),
        AccessLog::On => {
            format!("log_level = \"info\"\naccess_logs_target = \"file://{}\"", text(&site.access_log_file()))
        }
    };
    format!(
        r#"command_socket = "{socket}"
{log}
worker_count = 1
worker_automatic_restart = false
handle_process_affinity = false
activate_listeners = true
max_connections = {MAX_CONNECTIONS}
max_buffers = {buffers}

[[listeners]]
protocol = "tcp"
address = "{listen}"
front_timeout = 3600
back_timeout = 3600

[clusters.bench]
protocol = "tcp"
load_balancing = "ROUND_ROBIN"
frontends = [{{ address = "{listen}" }}]
backends = [
{backends}]
"#,
        socket = text(&site.dir.join("sozu.sock")),
        buffers = 2 * MAX_CONNECTIONS,
        listen = site.listen,
        backends = site.each_backend(|_, addr| format!("  {{ address = \"{addr}\" }},")),
    )
}
