//! HAProxy in TCP mode.

use std::path::PathBuf;

use super::peer::{Contest, HalfClose, MAX_CONNECTIONS, Peer, Ready, text, words};
use super::site::{AccessLog, Site};

/// Splice pipes that HAProxy may own, two descriptors each; by default a quarter of its connections, which does not fit.
const MAX_PIPES: usize = 512;
/// Bytes of each; costs HAProxy a fifth less per bulk byte than the kernel's 64 KiB.
const PIPE_SIZE: usize = 1 << 20;

/// With and without splice, and with its access log.
pub(super) fn peers() -> Vec<Peer> {
    vec![
        haproxy("haproxy", "HAProxy in TCP mode", plain),
        haproxy("haproxy", "", plain).with_access_log("haproxy-log", "HAProxy in TCP mode with its access log"),
        haproxy("haproxy-auto", "HAProxy with splice-auto, as its manual has it", splicing_auto),
        haproxy("haproxy-splice", "HAProxy made to splice always, through pipes of 1 MiB", splicing_always),
        Peer {
            contest: Contest::OnRequest,
            ..haproxy("haproxy-busy", "HAProxy with busy-polling", |site| {
                config(site, "busy-polling", "", "roundrobin")
            })
        },
        Peer {
            contest: Contest::Policies,
            ..haproxy("haproxy-leastconn", "HAProxy with balance leastconn", |site| config(site, "", "", "leastconn"))
        },
    ]
}

fn haproxy(name: &'static str, title: &'static str, config: fn(&Site) -> String) -> Peer {
    Peer {
        name,
        title,
        contest: Contest::Proxies,
        program: PathBuf::from("haproxy"),
        remedy: "apt-get install haproxy",
        module: None,
        version_flag: "-v",
        config,
        datagrams: Err("HAProxy balances no datagrams"),
        half_close: HalfClose::PassedOn,
        arguments: |site| words(&["-db", "-f", &text(&site.config_file())]),
        access_log: AccessLog::Off,
        records: Site::log_file,
        ready: Ready::Listening { processes: 1 },
    }
}

fn plain(site: &Site) -> String {
    config(site, "", "", "roundrobin")
}

/// Splices where HAProxy thinks that it pays.
fn splicing_auto(site: &Site) -> String {
    config(site, &format!("maxpipes {MAX_PIPES}"), "option splice-auto", "roundrobin")
}

/// Splices both ways without asking whether it pays: with `splice-auto` instead, a bulk byte costs HAProxy three times as
/// much, about what it costs without splice.
fn splicing_always(site: &Site) -> String {
    config(
        site,
        &format!("maxpipes {MAX_PIPES}\n    tune.pipesize {PIPE_SIZE}"),
        "option splice-request\n    option splice-response",
        "roundrobin",
    )
}

/// Its records go to stdout, which is a file here: on a machine in service they go to a socket of syslog.
fn config(site: &Site, global: &str, defaults: &str, balance: &str) -> String {
    let (log, records) = match site.access_log {
        AccessLog::Off => ("", ""),
        AccessLog::On => ("log stdout format raw local0", "log global\n    option tcplog"),
    };
    format!(
        "global
    nbthread 1
    maxconn {MAX_CONNECTIONS}
    profiling.tasks off
    {log}
    {global}
defaults
    mode tcp
    {records}
    {defaults}
    maxconn {MAX_CONNECTIONS}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind {listen} backlog 4096
    balance {balance}
{backends}",
        listen = site.listen,
        backends = site.each_backend(|index, addr| format!("    server s{index} {addr}")),
    )
}
