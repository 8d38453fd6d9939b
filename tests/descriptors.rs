//! Too few descriptors for too many clients: no spinning, no storm in the log, and back to work at once.
//!
//! A binary of its own, and one test after another: processor time and delays are measured.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::metrics::HttpClient;
use support::port::free_addr;
use support::process::TcpState;
use support::socket::{assert_echo, connect, echo};
use support::wait::{SOON, at_a_pace, wait_until};

/// The limit of the process under test.
const DESCRIPTORS: u32 = 256;
const CLIENTS: usize = 1_000;
const PRESSURE: Duration = Duration::from_secs(10);

/// Of one core, over [`PRESSURE`], on a machine on which a plain connection costs [`ORDINARY`]; a slower one needs more.
const PROCESSOR_SHARE: f64 = 0.10;

/// CPU time of a connection on the loopback device without anything between its two ends, in seconds.
const ORDINARY: f64 = 60e-6;

/// Sessions that are open before the pressure begins and must not notice it.
const HELD: usize = 20;

/// One test measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

#[test]
fn over_max_connections_a_thousand_clients_are_refused_cheaply() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, back) = (free_addr(), Backend::start(Behaviour::Echo));
    let balancer = Balancer::start_limited(&config(front, &back, 60), DESCRIPTORS);
    let mut held = hold(front, 60);
    let baseline = Baseline::of(&balancer);

    // Every client comes back once a second, as a client with a sane retry does.
    thread::scope(|scope| {
        const LANES: usize = 4;
        for _ in 0..LANES {
            scope.spawn(|| {
                let mine = CLIENTS / LANES;
                let period = Duration::from_secs(1) / u32::try_from(mine).expect("few clients");
                let visits = u32::try_from(mine * 10).expect("few clients");
                at_a_pace(period, visits, |_| drop(TcpStream::connect(front).map(|mut it| echo(&mut it, b"?"))));
            });
        }
        let mut session = held.pop().expect("sixty are held");
        let started = Instant::now();
        while started.elapsed() < PRESSURE {
            assert_echo(&mut session);
            assert!(balancer.is_ready(), "the admin address answers under pressure");
            at_a_pace(Duration::from_millis(100), 2, |_| {});
        }
        held.push(session);
    });
    baseline.assert_calm(&balancer);
    held.iter_mut().for_each(assert_echo);
    let refused = balancer.metrics().sum("evenkeel_listener_refused_total", &[("reason", "listener-full")]);
    assert!(refused >= 9.0 * CLIENTS as f64, "only {refused} were refused");

    drop(held);
    balancer.wait_idle(SOON);
    assert_echo(&mut connect(front));
}

#[test]
fn without_descriptors_accepting_pauses_and_resumes_at_once() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, back) = (free_addr(), Backend::start(Behaviour::Echo));
    let balancer = Balancer::start(&config(front, &back, 4_000));
    let mut held = hold(front, HELD);
    let mut admin = HttpClient::connect(balancer.admin()).expect("the admin address answers");
    assert_eq!(admin.get("/livez").expect("an answer").status, 200);

    // From now on accept says EMFILE, whatever the configuration promised.
    wait_until("only one connection to the admin address is left", SOON, || {
        balancer.process.sockets_in(TcpState::Established, Some(balancer.admin())) == 1
            && balancer.process.sockets_in(TcpState::CloseWait, None) == 0
    });
    let open = balancer.process.descriptors();
    balancer.process.limit_descriptors(balancer.process.next_descriptor());
    let baseline = Baseline::of(&balancer);
    let mut waiting: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(front)).collect();
    let started = Instant::now();
    while started.elapsed() < PRESSURE {
        held.iter_mut().for_each(assert_echo);
        assert_eq!(admin.get("/metrics").expect("an answer under pressure").status, 200);
        at_a_pace(Duration::from_millis(250), 2, |_| {});
    }
    baseline.assert_calm(&balancer);
    assert_eq!(balancer.process.descriptors(), open, "nothing was accepted over the limit, and nothing closed");
    assert!(balancer.log.sessions().is_empty(), "nobody was turned away");

    balancer.process.limit_descriptors(10_000);
    let resumed = Instant::now();
    assert_echo(&mut waiting[0]);
    assert!(resumed.elapsed() < Duration::from_millis(200), "accepting resumed after {:?}", resumed.elapsed());
    waiting.iter_mut().for_each(assert_echo);
    held.iter_mut().for_each(assert_echo);
    drop((waiting, held));
    balancer.wait_idle(SOON);
}

/// What was spent and said before the pressure began.
struct Baseline {
    started: Instant,
    cpu: Duration,
    lines: usize,
}

impl Baseline {
    fn of(balancer: &Balancer) -> Self {
        Self { started: Instant::now(), cpu: balancer.process.cpu_time(), lines: balancer.log.events().len() }
    }

    /// Asserts that since then the process used little and said little.
    #[track_caller]
    fn assert_calm(&self, balancer: &Balancer) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let share = (balancer.process.cpu_time() - self.cpu).as_secs_f64() / elapsed;
        let lines = balancer.log.events().len() - self.lines;
        let slowness = (cost_of_a_connection() / ORDINARY).max(1.0);
        eprintln!("{elapsed:.1} s: {:.1} % of a core, {lines} lines, {slowness:.1} times slow", share * 100.0);
        assert!(share < PROCESSOR_SHARE * slowness, "{:.1} % of a core", share * 100.0);
        // One a second, and the first and the last of the period.
        assert!(lines as f64 <= elapsed + 2.0, "{lines} lines in {elapsed:.1} s");
    }
}

/// What the kernel of this machine needs now to open a connection, accept it and close it, in seconds of CPU time.
fn cost_of_a_connection() -> f64 {
    const CONNECTIONS: u32 = 2_000;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let spent = || {
        let spent = clock_gettime(ClockId::ThreadCPUTime);
        spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
    };
    let before = spent();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(addr).expect("it listens");
        drop((listener.accept().expect("one waits"), client));
    }
    (spent() - before) / f64::from(CONNECTIONS)
}

fn hold(front: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held: Vec<TcpStream> = (0..count).map(|_| connect(front)).collect();
    held.iter_mut().for_each(assert_echo);
    held
}

fn config(front: SocketAddr, back: &Backend, max_connections: u32) -> Config {
    let keys = format!("max_connections = {max_connections}");
    wait_until("the backend listens", SOON, || TcpStream::connect(back.addr()).is_ok());
    Config::new().listener("main", front, "main", &keys).pool("main", &[back.addr()], "")
}
