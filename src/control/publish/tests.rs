use std::net::SocketAddr;
use std::num::NonZeroUsize;

use Health::{Checking, Down, Up};

use super::*;
use crate::config::{Config, Machine};
use crate::control::desired::{Override, Sources};
use crate::discovery::name::HostName;
use crate::pool::backend::Endpoint;
use crate::sys::udp::Capabilities;

/// A control plane without a listener, whose events are a test's.
struct Plane {
    sources: Sources,
    publisher: Publisher,
    binder: Binder,
}

const CHECK: &str = "health_check = {}";

fn config(pools: &str) -> Config {
    // No socket is ever bound for it.
    let text = format!(
        "[listeners.l]\nbind = ['127.0.0.1:1']\npool = 'other'\n{pools}\n[pools.other]\nbackends = ['10.9.0.1:1']\n"
    );
    let machine = Machine { descriptor_limit: 10_000, ephemeral_ports: 28_232, cpus: NonZeroUsize::MIN };
    Config::parse("test", &text, &machine).unwrap_or_else(|errors| panic!("{errors}"))
}

fn pool(backends: &str, keys: &str) -> Config {
    config(&format!("[pools.p]\nbackends = [{backends}]\n{keys}"))
}

impl Plane {
    fn start(config: Config) -> Self {
        let (snapshot, registry) = (Arc::new(ArcSwap::from_pointee(Snapshot::empty(&config))), Registry::new(1));
        let sources = Sources::empty(&config);
        let publisher = Publisher::new(Arc::new(registry), snapshot, sources.desired());
        let mut plane = Self { sources, publisher, binder: Binder::new(1, Capabilities::NONE) };
        plane.reload(config);
        plane
    }

    fn publish(&mut self) {
        let desired = self.sources.desired().reusing(self.publisher.desired());
        self.publisher.publish(desired, &self.binder);
    }

    fn reload(&mut self, config: Config) {
        self.sources.replace_file(config);
        self.publish();
    }

    fn say(&mut self, backend: &str, admin: AdminState) {
        let key = BackendKey { pool: "p".into(), backend: backend.into() };
        self.sources.overrides.backends.insert(key, Override { admin, ..Override::default() });
        self.publish();
    }

    /// The news that a backend of `p`, at this address, has this health.
    fn change(&mut self, backend: &str, addr: &str, to: Health) {
        let state = Arc::clone(&self.view("p").backend(&backend.into()).expect("it is there").state);
        let endpoint = Endpoint::Inet(addr.parse::<SocketAddr>().expect("an address"));
        self.publisher.publish_health(&[Change { backend: state, endpoint, to }], &self.binder);
    }

    fn view(&self, pool: &str) -> Arc<PoolView> {
        Arc::clone(&self.publisher.in_force().pools[pool])
    }

    /// Weight and health of each backend of `p`.
    fn backends(&self) -> Vec<(u16, Health)> {
        self.view("p").backends.iter().map(|backend| (backend.weight, backend.health)).collect()
    }

    fn version(&self) -> u64 {
        self.publisher.in_force().version
    }
}

#[test]
fn a_pool_that_nothing_has_touched_keeps_its_view_and_every_snapshot_has_a_version() {
    let mut plane = Plane::start(pool("'10.0.0.1:1', '10.0.0.2:1'", CHECK));
    let (before, other, version) = (plane.view("p"), plane.view("other"), plane.version());
    plane.reload(pool("'10.0.0.1:1', '10.0.0.2:1'", CHECK));
    assert!(Arc::ptr_eq(&plane.view("p"), &before) && plane.version() > version);
    plane.change("10.0.0.1:1", "10.0.0.1:1", Up);
    assert!(!Arc::ptr_eq(&plane.view("p"), &before) && Arc::ptr_eq(&plane.view("other"), &other));
    assert!(plane.version() > version + 1);
    let (before, version) = (plane.view("p"), plane.version());
    plane.change("10.0.0.1:1", "10.0.0.1:1", Up);
    assert!(Arc::ptr_eq(&plane.view("p"), &before) && plane.version() > version, "that was no news");
}

#[test]
fn health_is_what_was_last_heard_of_this_machine() {
    let mut plane = Plane::start(pool("{ name = 'a', address = '10.0.0.1:1' }", CHECK));
    assert_eq!(plane.backends(), [(1, Checking)]);
    plane.change("a", "10.0.0.1:1", Down);
    plane.reload(pool("{ name = 'a', address = '10.0.0.1:1', weight = 3 }", CHECK));
    assert_eq!(plane.backends(), [(3, Down)], "a reload forgets no verdict");
    plane.reload(pool("{ name = 'a', address = '10.0.0.2:1' }", CHECK));
    assert_eq!(plane.backends(), [(1, Checking)], "another machine");
    plane.change("a", "10.0.0.1:1", Up);
    assert_eq!(plane.backends(), [(1, Checking)], "late news of the first one");
    plane.change("a", "10.0.0.2:1", Down);
    plane.reload(pool("{ name = 'a', address = '10.0.0.2:1' }", ""));
    assert_eq!(plane.backends(), [(1, Up)], "nobody asks any more");
    plane.reload(pool("{ name = 'a', address = '10.0.0.2:1' }", CHECK));
    assert_eq!(plane.backends(), [(1, Up)], "and goes on from there when somebody does");
}

#[test]
fn a_name_without_an_address_is_down_and_then_like_any_other() {
    let mut plane = Plane::start(pool("'a.test:1'", CHECK));
    assert_eq!((plane.backends(), plane.view("p").has_candidates()), (vec![(1, Down)], false));
    let name = HostName { host: "a.test".into(), port: 1.try_into().expect("not 0") };
    plane.sources.discovered.learn(&name, &["10.0.0.1:1".parse().expect("an address")]);
    plane.publish();
    assert_eq!((plane.backends(), plane.view("p").has_candidates()), (vec![(1, Checking)], true));
}

#[test]
fn what_the_operator_drains_is_not_picked_and_what_he_works_on_is_not_asked_for() {
    let mut plane = Plane::start(pool("'10.0.0.1:1', '10.0.0.2:1'", CHECK));
    plane.change("10.0.0.1:1", "10.0.0.1:1", Down);
    plane.change("10.0.0.2:1", "10.0.0.2:1", Up);
    plane.say("10.0.0.2:1", AdminState::Drain);
    assert_eq!(plane.backends(), [(1, Down), (0, Up)]);
    assert!(!plane.view("p").has_candidates());
    plane.say("10.0.0.1:1", AdminState::Maint);
    assert_eq!(plane.backends(), [(0, Checking), (0, Up)]);
    plane.say("10.0.0.1:1", AdminState::Ready);
    plane.say("10.0.0.2:1", AdminState::Ready);
    assert_eq!(plane.backends(), [(1, Checking), (1, Up)], "what was drained was looked after all the time");
    plane.sources.overrides.paused.insert("p".into());
    plane.publish();
    assert_eq!(plane.backends(), [(0, Checking), (0, Up)]);
}

#[test]
fn a_reload_a_probe_and_an_operator_come_out_the_same_in_any_order() {
    type Event = fn(&mut Plane);
    let events: [Event; 4] = [
        |plane| plane.reload(pool("{ address = '10.0.0.1:1', weight = 5 }, '10.0.0.2:1', '10.0.0.3:1'", CHECK)),
        |plane| plane.change("10.0.0.1:1", "10.0.0.1:1", Up),
        |plane| plane.change("10.0.0.2:1", "10.0.0.2:1", Down),
        |plane| plane.say("10.0.0.2:1", AdminState::Drain),
    ];
    let mut orders = vec![vec![]];
    for event in 0..events.len() {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(|at| {
                    let mut longer = order.clone();
                    longer.insert(at, event);
                    longer
                })
            })
            .collect();
    }
    assert_eq!(orders.len(), 24);
    for order in orders {
        let mut plane = Plane::start(pool("'10.0.0.1:1', '10.0.0.2:1'", CHECK));
        order.iter().for_each(|event| events[*event](&mut plane));
        assert_eq!(plane.backends(), [(5, Up), (0, Down), (1, Checking)], "{order:?}");
    }
}
