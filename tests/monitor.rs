//! The monitor alone: it watches what it is told to, and says what changes.

mod support;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::config::{HealthCheck, OnDown, Policy, Pool, Priority, Probe};
use evenkeel::health::{Change, Monitor};
use evenkeel::pool::backend::{BackendKey, BackendState, Endpoint};
use evenkeel::pool::health::{AdminState, Health};
use evenkeel::pool::snapshot::Pools;
use evenkeel::pool::view::{BackendView, PoolView};
use support::backend::{Backend, Behaviour};
use support::port::free_addr;
use support::wait::SOON;
use tokio::sync::mpsc;
use tokio::time::timeout;

use Health::{Checking, Down, Up};

/// One backend of one pool, as the control plane would have it.
#[derive(Clone)]
struct Wanted {
    state: Arc<BackendState>,
    addr: Option<SocketAddr>,
    admin: AdminState,
    health: Health,
    check: Option<HealthCheck>,
}

impl Wanted {
    fn at(addr: SocketAddr) -> Self {
        let key = BackendKey { pool: "pool".into(), backend: "backend".into() };
        let check = HealthCheck {
            probe: Probe::Tcp,
            port: None,
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
            rise: NonZeroU16::MIN,
            fall: NonZeroU16::MIN,
        };
        Self {
            state: Arc::new(BackendState::new(key, 1, Checking)),
            addr: Some(addr),
            admin: AdminState::Ready,
            health: Checking,
            check: Some(check),
        }
    }

    fn pools(&self) -> Pools {
        let config = Pool {
            policy: Policy::RoundRobin,
            connect_timeout: Duration::from_secs(1),
            connect_attempts: NonZeroU16::MIN,
            backends: Vec::new(),
            health_check: self.check.clone(),
            passive_check: None,
            on_down: OnDown::Keep,
        };
        let view = BackendView {
            state: Arc::clone(&self.state),
            endpoint: self.addr.map(Endpoint::Inet),
            weight: 1,
            priority: Priority::Regular,
            admin: self.admin,
            health: self.health,
        };
        let pool = PoolView::build("pool".into(), Arc::new(config), vec![view], None);
        Pools::from([(pool.name.clone(), Arc::new(pool))])
    }
}

/// The health that the next change says, of the endpoint that it should.
async fn next(changes: &mut mpsc::Receiver<Change>, wanted: &Wanted) -> Health {
    let change = timeout(SOON, changes.recv()).await.expect("a change comes").expect("the monitor lives");
    assert!(Arc::ptr_eq(&change.backend, &wanted.state));
    assert_eq!(Some(change.endpoint), wanted.addr.map(Endpoint::Inet));
    assert_eq!(wanted.state.health(), change.to, "it is published before it is said");
    change.to
}

/// Returns once the state has this health.
async fn becomes(state: &BackendState, health: Health) {
    let is_so = async {
        while state.health() != health {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(SOON, is_so).await.expect("its health is published");
}

#[tokio::test]
async fn a_change_is_published_and_said_and_a_mistaken_view_is_put_right() {
    let (monitor, mut changes) = Monitor::start();
    let wanted = Wanted::at(free_addr());
    monitor.watch(&wanted.pools());
    assert_eq!(next(&mut changes, &wanted).await, Down);
    // Built before that was heard.
    monitor.watch(&Wanted { health: Up, ..wanted.clone() }.pools());
    assert_eq!(next(&mut changes, &wanted).await, Down);
}

#[tokio::test]
async fn at_another_address_a_backend_begins_anew() {
    let (monitor, mut changes) = Monitor::start();
    let (dead, alive) = (free_addr(), Backend::start(Behaviour::Echo));
    let wanted = Wanted::at(dead);
    monitor.watch(&wanted.pools());
    assert_eq!(next(&mut changes, &wanted).await, Down);
    let moved = Wanted { addr: Some(alive.addr()), ..wanted.clone() };
    monitor.watch(&moved.pools());
    assert_eq!(next(&mut changes, &moved).await, Up);
    // Nothing is known of a name without an address, and nobody is probed.
    monitor.watch(&Wanted { addr: None, health: Down, ..wanted.clone() }.pools());
    becomes(&wanted.state, Down).await;
    monitor.watch(&moved.pools());
    assert_eq!(next(&mut changes, &moved).await, Up);
    assert_eq!(wanted.state.probes.transitions.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_somebody_works_on_is_left_alone_and_asked_anew_afterwards() {
    let (monitor, mut changes) = Monitor::start();
    let mut back = Backend::start(Behaviour::Echo);
    let wanted = Wanted::at(back.addr());
    monitor.watch(&wanted.pools());
    assert_eq!(next(&mut changes, &wanted).await, Up);
    monitor.watch(&Wanted { admin: AdminState::Maint, ..wanted.clone() }.pools());
    becomes(&wanted.state, Checking).await;
    back.kill();
    assert!(timeout(Duration::from_millis(300), changes.recv()).await.is_err(), "nobody has asked");
    monitor.watch(&wanted.pools());
    assert_eq!(next(&mut changes, &wanted).await, Down);
    // Without a check a backend is what its view says.
    monitor.watch(&Wanted { check: None, health: Up, ..wanted.clone() }.pools());
    becomes(&wanted.state, Up).await;
}

#[tokio::test]
async fn a_check_that_changes_goes_on_from_the_evidence_there_is() {
    let (monitor, mut changes) = Monitor::start();
    let wanted = Wanted::at(free_addr());
    let check = |fall: u16, interval: u64| {
        let fall = NonZeroU16::new(fall).expect("not 0");
        wanted.check.clone().map(|check| HealthCheck { fall, interval: Duration::from_millis(interval), ..check })
    };
    let failed = || wanted.state.probes.failed.load(std::sync::atomic::Ordering::Relaxed);
    monitor.watch(&Wanted { health: Up, check: check(100, 10), ..wanted.clone() }.pools());
    while failed() < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // One more is one too many now, and it is made at once.
    monitor.watch(&Wanted { health: Up, check: check(20, 60_000), ..wanted.clone() }.pools());
    assert_eq!(next(&mut changes, &wanted).await, Down);
}
