//! The admin HTTP as a scraper, an orchestrator and a hostile client see it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use evenkeel::admin::{Observed, serve};
use evenkeel::config::{Admin as AdminConfig, Config, OnDown, Policy, Pool, Priority};
use evenkeel::control::phase::Phase;
use evenkeel::metrics::WorkerId;
use evenkeel::metrics::reason::{CloseReason, ConnectErrorReason, RefuseReason};
use evenkeel::pool::backend::{BackendKey, BackendState, Endpoint};
use evenkeel::pool::health::{AdminState, Health};
use evenkeel::pool::registry::{Registry, ReloadResult};
use evenkeel::pool::snapshot::Snapshot;
use evenkeel::pool::view::{BackendView, PoolView};
use support::promtool;
use support::wait::{SOON, wait_until};
use tokio::sync::{oneshot, watch};

const WORKERS: usize = 2;

/// A server on a thread of its own, with one runtime as the control thread has, over state that the test writes.
struct Admin {
    addr: SocketAddr,
    registry: Arc<Registry>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    phase: watch::Sender<Phase>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    fn start() -> Self {
        let registry = Arc::new(Registry::new(WORKERS));
        let snapshot = Arc::new(ArcSwap::from_pointee(picture(1, [])));
        let (phase, watched) = watch::channel(Phase::Starting);
        let observed =
            Arc::new(Observed { snapshot: Arc::clone(&snapshot), registry: Arc::clone(&registry), phase: watched });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        listener.set_nonblocking(true).expect("a socket can be nonblocking");
        let addr = listener.local_addr().expect("the listener is bound");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is nonblocking");
                tokio::select! {
                    () = serve(listener, observed) => panic!("serve returned"),
                    _ = stopped => {}
                }
            });
        });
        Self { addr, registry, snapshot, phase, stop: Some(stop), thread: Some(thread) }
    }

    /// The state of a backend, as the control plane would make it.
    fn backend(&self, pool: &str, backend: &str, health: Health) -> Arc<BackendState> {
        self.registry.backend(&BackendKey { pool: pool.into(), backend: backend.into() }, health)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("the listener accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
        stream
    }

    /// One exchange on a connection of its own.
    fn request(&self, method: &str, path: &str) -> Response {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("the server reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the response ends cleanly");
        Response::parse(&text)
    }

    fn get(&self, path: &str) -> Response {
        self.request("GET", path)
    }

    fn scrape(&self) -> Metrics {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200);
        Metrics::parse(&response.body)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            assert!(std::thread::panicking(), "the server panicked");
        }
    }
}

struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Response {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a response has a head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers = lines.map(|line| line.split_once(": ").expect("a header is a pair"));
        let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        let chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
        let body = if chunked && !body.is_empty() { unchunk(body) } else { body.to_owned() };
        Self { status: status.parse().expect("a status is a number"), headers, body }
    }
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (len, data) = rest.split_once("\r\n").expect("a chunk starts with its length");
        let len = usize::from_str_radix(len, 16).expect("the length is hexadecimal");
        if len == 0 {
            return body;
        }
        body.push_str(&data[..len]);
        rest = data[len..].strip_prefix("\r\n").expect("a chunk ends with its line");
    }
}

/// The samples of a scrape by name and labels as written, such as `up{job="a"}`.
struct Metrics {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    fn parse(text: &str) -> Self {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a sample is a series and a value");
            let value = value.parse().expect("a value is a number");
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
        }
        Self { text: text.to_owned(), samples }
    }

    fn at(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }
}

/// A snapshot with these pools and no listener.
fn picture<const N: usize>(generation: u64, pools: [PoolView; N]) -> Snapshot {
    let config = Config {
        workers: NonZeroUsize::new(WORKERS).expect("not 0"),
        max_connections: NonZeroU32::MIN,
        busy_poll: None,
        default_max_flows: NonZeroU32::MIN,
        max_pipes: 0,
        shutdown_timeout: Duration::ZERO,
        log: "info".to_owned(),
        admin: AdminConfig::default(),
        listeners: BTreeMap::new(),
        pools: BTreeMap::new(),
    };
    Snapshot {
        version: generation,
        generation,
        config: Arc::new(config),
        pools: pools.into_iter().map(|pool| (pool.name.clone(), Arc::new(pool))).collect(),
        binds: Default::default(),
        udp_addrs: Vec::new(),
    }
}

fn pool(name: &str, backends: &[&Arc<BackendState>]) -> PoolView {
    let config = Pool {
        policy: Policy::RoundRobin,
        connect_timeout: Duration::from_secs(1),
        connect_attempts: NonZeroU16::MIN,
        backends: Vec::new(),
        health_check: None,
        passive_check: None,
        on_down: OnDown::Keep,
    };
    let view = |state: &&Arc<BackendState>| BackendView {
        state: Arc::clone(state),
        endpoint: Some(Endpoint::Inet(SocketAddr::from(([127, 0, 0, 1], 1)))),
        weight: 1,
        priority: Priority::Regular,
        admin: AdminState::Ready,
        health: state.health(),
    };
    PoolView::build(name.into(), Arc::new(config), backends.iter().map(view).collect(), None)
}

#[test]
fn pages_answer_get_and_head_and_nothing_else() {
    let admin = Admin::start();
    admin.phase.send_replace(Phase::Running);
    for path in ["/", "/livez", "/readyz", "/metrics"] {
        let get = admin.get(path);
        assert_eq!(get.status, 200, "{path}");
        assert!(get.headers["content-type"].starts_with("text/plain"), "{path}");
        assert!(!get.body.is_empty(), "{path}");

        let head = admin.request("HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");

        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let other = admin.request(method, path);
            assert_eq!(other.status, 405, "{method} {path}");
            assert_eq!(other.headers["allow"], "GET, HEAD", "{method} {path}");
        }
    }
    assert_eq!(admin.get("/metrics").headers["content-type"], "text/plain; version=0.0.4");
    assert_eq!(admin.get("/metrics?any=query").status, 200);
    for path in ["/metric", "/metrics/", "//", "/readyz/.."] {
        assert_eq!(admin.get(path).status, 404, "{path}");
    }
    assert_eq!(admin.request("POST", "/nowhere").status, 404);
    assert!(admin.get("/").body.contains(evenkeel::VERSION));
}

#[test]
fn one_connection_carries_many_requests() {
    let admin = Admin::start();
    let mut stream = admin.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").expect("the connection is open");
        let mut response = Vec::new();
        while !response.ends_with(b"\r\n\r\nlive\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the connection is open");
            response.push(byte[0]);
        }
    }
}

#[test]
fn a_request_body_is_not_waited_for() {
    let admin = Admin::start();
    let mut stream = admin.connect();
    stream.write_all(b"POST /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").expect("the server reads");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("the server answers and closes");
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
}

#[test]
fn readiness_follows_the_phase_and_liveness_does_not() {
    let admin = Admin::start();
    let cases = [
        (Phase::Starting, 503, "not ready: starting\n"),
        (Phase::Running, 200, "ready\n"),
        (Phase::Draining, 503, "not ready: draining\n"),
        (Phase::Stopped, 503, "not ready: stopped\n"),
    ];
    for (phase, status, body) in cases {
        admin.phase.send_replace(phase);
        let ready = admin.get("/readyz");
        assert_eq!((ready.status, ready.body.as_str()), (status, body));
        assert_eq!(admin.get("/livez").status, 200, "{phase:?}");
    }
}

#[test]
fn readiness_names_pools_without_a_backend_that_is_up() {
    let admin = Admin::start();
    admin.phase.send_replace(Phase::Running);
    let up = admin.backend("good", "a:1", Health::Up);
    let down = admin.backend("bad", "b:1", Health::Down);
    let checking = admin.backend("bad", "b:2", Health::Checking);
    admin.snapshot.store(Arc::new(picture(2, [pool("good", &[&up]), pool("bad", &[&down, &checking])])));
    let ready = admin.get("/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!(ready.body, "ready\npool bad: no backend is up (1 checking, 1 down)\n");
}

#[test]
fn a_client_that_sends_half_a_request_holds_up_nobody() {
    let admin = Admin::start();
    let mut slow = admin.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\nho").expect("the server reads");
    assert_eq!(admin.get("/livez").status, 200);
    slow.write_all(b"st: a\r\nconnection: close\r\n\r\n").expect("the server still waits");
    let mut response = String::new();
    slow.read_to_string(&mut response).expect("the response ends cleanly");
    assert!(response.ends_with("live\n"), "{response}");
}

#[test]
fn the_65th_connection_is_closed_at_once() {
    let admin = Admin::start();
    let mut open: Vec<_> = (0..64).map(|_| admin.connect()).collect();
    assert_eq!(admin.connect().read(&mut [0]).expect("the connection ends cleanly"), 0);

    let mut last = open.pop().expect("64 are open");
    last.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("the 64th is served");
    let mut response = String::new();
    last.read_to_string(&mut response).expect("the response ends cleanly");
    assert!(response.ends_with("live\n"), "{response}");
    // The server closed the 64th before we saw its end, so there may be room at once; there must be soon.
    let served = || {
        let mut stream = admin.connect();
        let mut response = String::new();
        let request = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let read = stream.write_all(request).and_then(|()| stream.read_to_string(&mut response));
        read.is_ok() && response.ends_with("live\n")
    };
    wait_until("there is room again", SOON, served);
    drop(open);
}

/// Puts a number of its own into everything that is counted.
fn fill(admin: &Admin) {
    let [first, second] = [WorkerId(0), WorkerId(1)];
    let listener = admin.registry.tcp_listener(&"pg".into(), &"main".into());
    listener.stats.at(first).active.add(3);
    listener.stats.at(second).active.add(4);
    listener.stats.at(first).sessions.add(10);
    listener.stats.at(second).refused.at(RefuseReason::ProcessFull.index()).add(5);
    listener.stats.at(first).closed.at(CloseReason::Finished.index()).add(6);
    listener.stats.at(first).duration.observe(Duration::from_millis(1));
    listener.stats.at(second).duration.observe(Duration::from_millis(2));
    listener.stats.at(second).duration.observe(Duration::from_secs(100_000));
    // The same listener before a reload gave it another pool.
    let before = admin.registry.tcp_listener(&"pg".into(), &"old".into());
    before.stats.at(first).active.add(1);
    before.stats.at(second).sessions.add(20);
    before.stats.at(second).closed.at(CloseReason::Finished.index()).add(7);
    before.stats.at(first).duration.observe(Duration::from_millis(1));

    let up = admin.backend("main", "a:1", Health::Up);
    let down = admin.backend("main", "b:1", Health::Down);
    let removed = admin.backend("gone", "c:1", Health::Up);
    up.stats.at(first).sessions.add(11);
    up.stats.at(second).bytes_upstream.add(12);
    up.stats.at(second).bytes_downstream.add(13);
    up.stats.at(first).connect.observe(Duration::from_micros(50));
    up.stats.at(first).first_byte.observe(Duration::from_millis(7));
    down.stats.at(second).connect_errors.at(ConnectErrorReason::Timeout.index()).add(14);
    down.stats.at(second).retries.add(15);
    down.probes.passed.store(16, Relaxed);
    down.probes.failed.store(17, Relaxed);
    down.probes.inconclusive.store(44, Relaxed);
    down.probes.transitions.store(18, Relaxed);
    removed.stats.at(first).sessions.add(19);
    admin.snapshot.store(Arc::new(picture(9, [pool("main", &[&up, &down])])));

    admin.registry.workers.at(first).panics.add(21);
    admin.registry.workers.at(second).panics.add(22);
    admin.registry.workers.at(second).handed_over.add(23);
    admin.registry.count_reload(ReloadResult::Done);
    admin.registry.count_reload(ReloadResult::Done);
    admin.registry.count_reload(ReloadResult::Refused);
}

#[test]
fn every_number_arrives_under_its_name() {
    let admin = Admin::start();
    fill(&admin);
    let lease = admin.backend("main", "a:1", Health::Up).load.lease();
    let metrics = admin.scrape();
    let expected = [
        (r#"evenkeel_listener_sessions_active{listener="pg"}"#, 8.0),
        (r#"evenkeel_listener_sessions_total{listener="pg"}"#, 30.0),
        (r#"evenkeel_listener_refused_total{listener="pg",reason="process-full"}"#, 5.0),
        (r#"evenkeel_listener_refused_total{listener="pg",reason="listener-full"}"#, 0.0),
        (r#"evenkeel_sessions_closed_total{listener="pg",pool="main",reason="finished"}"#, 6.0),
        (r#"evenkeel_sessions_closed_total{listener="pg",pool="old",reason="finished"}"#, 7.0),
        (r#"evenkeel_sessions_closed_total{listener="pg",pool="main",reason="panicked"}"#, 0.0),
        (r#"evenkeel_session_seconds_bucket{listener="pg",le="0.001"}"#, 2.0),
        (r#"evenkeel_session_seconds_bucket{listener="pg",le="0.005"}"#, 3.0),
        (r#"evenkeel_session_seconds_bucket{listener="pg",le="86400"}"#, 3.0),
        (r#"evenkeel_session_seconds_bucket{listener="pg",le="+Inf"}"#, 4.0),
        (r#"evenkeel_session_seconds_count{listener="pg"}"#, 4.0),
        (r#"evenkeel_session_seconds_sum{listener="pg"}"#, 100_000.004),
        (r#"evenkeel_backend_up{pool="main",backend="a:1"}"#, 1.0),
        (r#"evenkeel_backend_up{pool="main",backend="b:1"}"#, 0.0),
        (r#"evenkeel_backend_sessions_active{pool="main",backend="a:1"}"#, 1.0),
        (r#"evenkeel_backend_sessions_total{pool="main",backend="a:1"}"#, 11.0),
        (r#"evenkeel_backend_sessions_total{pool="gone",backend="c:1"}"#, 19.0),
        (r#"evenkeel_backend_bytes_total{pool="main",backend="a:1",direction="upstream"}"#, 12.0),
        (r#"evenkeel_backend_bytes_total{pool="main",backend="a:1",direction="downstream"}"#, 13.0),
        (r#"evenkeel_backend_connect_seconds_bucket{pool="main",backend="a:1",le="0.00005"}"#, 1.0),
        (r#"evenkeel_backend_first_byte_seconds_bucket{pool="main",backend="a:1",le="0.005"}"#, 0.0),
        (r#"evenkeel_backend_first_byte_seconds_bucket{pool="main",backend="a:1",le="0.01"}"#, 1.0),
        (r#"evenkeel_backend_connect_errors_total{pool="main",backend="b:1",reason="timeout"}"#, 14.0),
        (r#"evenkeel_backend_connect_errors_total{pool="main",backend="a:1",reason="local"}"#, 0.0),
        (r#"evenkeel_backend_retries_total{pool="main",backend="b:1"}"#, 15.0),
        (r#"evenkeel_health_checks_total{pool="main",backend="b:1",result="passed"}"#, 16.0),
        (r#"evenkeel_health_checks_total{pool="main",backend="b:1",result="failed"}"#, 17.0),
        (r#"evenkeel_health_checks_total{pool="main",backend="b:1",result="inconclusive"}"#, 44.0),
        (r#"evenkeel_health_transitions_total{pool="main",backend="b:1"}"#, 18.0),
        (r#"evenkeel_worker_sessions_active{worker="0"}"#, 4.0),
        (r#"evenkeel_worker_sessions_active{worker="1"}"#, 4.0),
        (r#"evenkeel_worker_sessions_handed_over_total{worker="1"}"#, 23.0),
        ("evenkeel_session_panics_total", 43.0),
        (r#"evenkeel_reloads_total{result="done"}"#, 2.0),
        (r#"evenkeel_reloads_total{result="refused"}"#, 1.0),
        ("evenkeel_config_generation", 9.0),
    ];
    for (series, value) in expected {
        assert_eq!(metrics.at(series), value, "{series}");
    }
    // A removed backend is counted while sessions are left, but it is neither up nor down.
    assert!(!metrics.samples.contains_key(r#"evenkeel_backend_up{pool="gone",backend="c:1"}"#));
    assert!(metrics.at("process_open_fds") >= 3.0 && metrics.at("process_resident_memory_bytes") > 0.0);
    let build = metrics.samples.keys().find(|series| series.starts_with("evenkeel_build_info{")).expect("build info");
    let (version, commit) = evenkeel::VERSION.trim_end_matches(')').split_once(" (").expect("version and commit");
    assert_eq!(*build, format!("evenkeel_build_info{{version=\"{version}\",commit=\"{commit}\"}}"));
    drop(lease);
    assert_eq!(admin.scrape().at(r#"evenkeel_backend_sessions_active{pool="main",backend="a:1"}"#), 0.0);
}

#[test]
fn no_label_but_the_documented_ones() {
    let admin = Admin::start();
    fill(&admin);
    let metrics = admin.scrape();
    let labels = metrics.samples.keys().filter_map(|series| series.split_once('{'));
    let labels = labels.flat_map(|(_, labels)| labels.trim_end_matches('}').split(','));
    let names: BTreeSet<_> = labels.map(|label| label.split_once('=').expect("a label is a pair").0).collect();
    let documented =
        ["backend", "commit", "direction", "le", "listener", "pool", "reason", "result", "version", "worker"];
    assert_eq!(names, BTreeSet::from(documented));
}

#[test]
fn label_values_are_escaped() {
    let admin = Admin::start();
    admin.backend("a\\b", "say \"hi\"\nplease", Health::Up).stats.at(WorkerId(0)).sessions.add(1);
    let metrics = admin.scrape();
    assert_eq!(metrics.at(r#"evenkeel_backend_sessions_total{pool="a\\b",backend="say \"hi\"\nplease"}"#), 1.0);
    promtool::accept(&metrics.text);
}

#[test]
fn promtool_finds_nothing_to_say() {
    let admin = Admin::start();
    promtool::accept(&admin.scrape().text);
    fill(&admin);
    // More backends than one piece of the text holds.
    for number in 0..200 {
        admin.backend("many", &format!("{number}:1"), Health::Up);
    }
    let metrics = admin.scrape();
    promtool::accept(&metrics.text);
    for number in 0..200 {
        assert_eq!(metrics.at(&format!(r#"evenkeel_backend_retries_total{{pool="many",backend="{number}:1"}}"#)), 0.0);
    }
}
