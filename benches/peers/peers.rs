//! Who is measured: one entry a peer, each configured at its best. One configuration serves every case, as it would in
//! production.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// Sessions that every peer is told to expect: twice as many descriptors, pipes and a reserve fit a limit of 20,000.
const MAX_CONNECTIONS: usize = 9_200;
/// Splice pipes that HAProxy may own, two descriptors each; by default a quarter of its connections, which does not fit.
const MAX_PIPES: usize = 512;
/// Bytes of each; costs HAProxy a fifth less per bulk byte than the kernel's 64 KiB.
const PIPE_SIZE: usize = 1 << 20;

/// A proxy that can be measured.
#[derive(Debug)]
pub(crate) struct Peer {
    /// As `--peer` takes it and the JSON file calls it.
    pub(crate) name: &'static str,
    /// For readers of the list.
    pub(crate) title: &'static str,
    program: PathBuf,
    /// How it is had when it is not there.
    remedy: &'static str,
    /// A file beside the program without which it cannot be measured.
    module: Option<&'static str>,
    version_flag: &'static str,
    config: fn(&Site) -> String,
    arguments: fn(&Site) -> Vec<String>,
    pub(crate) ready: Ready,
}

/// How a started peer shows that it serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ready {
    /// `GET /readyz` on [`Site::admin`] answers 200.
    Readyz,
    /// It listens, and its tree has this many processes.
    Listening { processes: usize },
}

/// Where one measurement takes place.
pub(crate) struct Site {
    /// A private directory.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) backends: Vec<SocketAddr>,
}

impl Site {
    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.join("config")
    }

    /// One formatted line for each backend.
    fn each_backend(&self, line: impl Fn(usize, &SocketAddr) -> String) -> String {
        self.backends.iter().enumerate().fold(String::new(), |mut lines, (index, addr)| {
            let _ = writeln!(lines, "{}", line(index, addr));
            lines
        })
    }
}

/// Every peer, in the order of the table. The first is the one that the others are compared with.
pub(crate) fn all() -> Vec<Peer> {
    vec![
        evenkeel("evenkeel", "this build", PathBuf::from(env!("CARGO_BIN_EXE_evenkeel"))),
        Peer { name: "haproxy", title: "HAProxy in TCP mode", config: haproxy_config, ..haproxy() },
        Peer {
            name: "haproxy-auto",
            title: "HAProxy with splice-auto, as its manual has it",
            config: haproxy_auto_config,
            ..haproxy()
        },
        Peer {
            name: "haproxy-splice",
            title: "HAProxy made to splice always, through pipes of 1 MiB",
            config: haproxy_splice_config,
            ..haproxy()
        },
        Peer {
            name: "nginx",
            title: "nginx stream",
            program: PathBuf::from("nginx"),
            remedy: "apt-get install nginx libnginx-mod-stream",
            module: Some(NGINX_STREAM),
            version_flag: "-v",
            config: nginx_config,
            arguments: |site| words(&["-e", "stderr", "-p", &text(&site.dir), "-c", &text(&site.config_file())]),
            ready: Ready::Listening { processes: 2 },
        },
    ]
}

/// Another build of evenkeel.
pub(crate) fn before(program: PathBuf) -> Peer {
    evenkeel("before", "another build", program)
}

/// The peer that the others are compared with.
pub(crate) const SUBJECT: &str = "evenkeel";

fn evenkeel(name: &'static str, title: &'static str, program: PathBuf) -> Peer {
    Peer {
        name,
        title,
        program,
        remedy: "cargo build --release",
        module: None,
        version_flag: "--version",
        config: evenkeel_config,
        arguments: |site| words(&["run", "-c", &text(&site.config_file())]),
        ready: Ready::Readyz,
    }
}

fn haproxy() -> Peer {
    Peer {
        name: "haproxy",
        title: "",
        program: PathBuf::from("haproxy"),
        remedy: "apt-get install haproxy",
        module: None,
        version_flag: "-v",
        config: haproxy_config,
        arguments: |site| words(&["-db", "-f", &text(&site.config_file())]),
        ready: Ready::Listening { processes: 1 },
    }
}

/// Where Debian's `libnginx-mod-stream` puts it.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

fn evenkeel_config(site: &Site) -> String {
    format!(
        r#"workers = 1
shutdown_timeout = "1s"
log = "warn"

[admin]
http = "{admin}"

[listeners.bench]
bind = ["{listen}"]
protocol = "tcp"
pool = "bench"
max_connections = {MAX_CONNECTIONS}
access_log = false

[pools.bench]
policy = "round-robin"
backends = [
{backends}]
"#,
        admin = site.admin,
        listen = site.listen,
        backends = site.each_backend(|_, addr| format!("  \"{addr}\",")),
    )
}

fn haproxy_config(site: &Site) -> String {
    haproxy_text(site, "", "")
}

/// Splices where HAProxy thinks that it pays.
fn haproxy_auto_config(site: &Site) -> String {
    haproxy_text(site, &format!("maxpipes {MAX_PIPES}"), "option splice-auto")
}

/// Splices both ways without asking whether it pays: with `splice-auto` instead, a bulk byte costs HAProxy three times as
/// much, about what it costs without splice.
fn haproxy_splice_config(site: &Site) -> String {
    haproxy_text(
        site,
        &format!("maxpipes {MAX_PIPES}\n    tune.pipesize {PIPE_SIZE}"),
        "option splice-request\n    option splice-response",
    )
}

fn haproxy_text(site: &Site, global: &str, defaults: &str) -> String {
    format!(
        "global
    nbthread 1
    maxconn {MAX_CONNECTIONS}
    profiling.tasks off
    {global}
defaults
    mode tcp
    {defaults}
    maxconn {MAX_CONNECTIONS}
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen bench
    bind {listen} backlog 4096
    balance roundrobin
{backends}",
        listen = site.listen,
        backends = site.each_backend(|index, addr| format!("    server s{index} {addr}")),
    )
}

/// `proxy_half_close` as the others do it: without it nginx drops what is on its way when one side ends.
fn nginx_config(site: &Site) -> String {
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
    access_log off;
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
        listen = site.listen,
        backends = site.each_backend(|_, addr| format!("        server {addr};")),
    )
}

impl Peer {
    /// # Errors
    /// The program, or what it needs, is not there: says how to have it.
    pub(crate) fn check_installed(&self) -> Result<(), Failure> {
        let missing = |what: &str| {
            let Self { name, remedy, .. } = self;
            Failure::MissingPeer(format!("{name}: {what} not found: {remedy}, or leave it out (--peer)"))
        };
        if self.version().is_none() {
            return Err(missing(&text(&self.program)));
        }
        match self.module {
            Some(module) if !Path::new(module).exists() => Err(missing(module)),
            _ => Ok(()),
        }
    }

    /// The first line of what it says about itself. `None`: it cannot be run.
    pub(crate) fn version(&self) -> Option<String> {
        let output = Command::new(&self.program).arg(self.version_flag).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
    }

    /// Writes its configuration and says how to start it on `cpu`.
    ///
    /// It dies with this process: SIGTERM, because nginx's worker outlives a master that is killed.
    pub(crate) fn command(&self, site: &Site, cpu: usize) -> std::io::Result<Command> {
        std::fs::write(site.config_file(), (self.config)(site))?;
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string(), "setpriv", "--pdeathsig", "TERM"]);
        command.arg(&self.program).args((self.arguments)(site));
        Ok(command)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
