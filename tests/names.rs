//! Backends that are known by name: what does not resolve, or not in time, holds up nobody else.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::backend::{Backend, Behaviour, greeted, read_greeting};
use support::balancer::Balancer;
use support::config::Config;
use support::namespace::in_namespace;
use support::port::free_addr;
use support::resolver::Resolver;
use support::socket::{assert_echo, try_connect};
use support::wait::{SOON, wait_until};

/// How long a listener waits for the names in its pool here; longer than a resolver is waited for.
const PATIENT: &str = "interval = \"60s\"\ntimeout = \"60s\"";

#[test]
fn a_resolver_that_hangs_holds_up_nobody_else() {
    in_namespace("a_resolver_that_hangs_holds_up_nobody_else", || {
        let _resolver = Resolver::silent();
        let (front, hung, added, mut back) = (free_addr(), free_addr(), free_addr(), Backend::start(Behaviour::Greet));
        let config = || {
            let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
            let config = config.health_check("main", 100, 100).listener("hung", hung, "hung", "");
            config.pool("hung", &["hangs.test:5432"], "").health_check_with("hung", PATIENT)
        };
        let with_added = config().listener("added", added, "main", "");
        let mut balancer = Balancer::spawn(&config(), |_| {});
        wait_until("the admin address answers", SOON, || balancer.answers());
        wait_until("the backend is up", SOON, || up(&balancer, &back.addr().to_string()) == 1.0);
        assert_echo(&mut greeted(front).0);
        balancer.reload_done(&with_added);
        assert_echo(&mut greeted(added).0);
        back.kill();
        wait_until("the other pool's backend is down", SOON, || up(&balancer, &back.addr().to_string()) == 0.0);
        assert!(!balancer.is_ready(), "all of this was done before the resolver was given up");

        let told = Instant::now();
        balancer.process.signal(Signal::TERM);
        assert_eq!(balancer.wait_exit(SOON).code(), Some(0));
        assert!(told.elapsed() < Duration::from_secs(2), "it stopped after {:?}", told.elapsed());
    });
}

#[test]
fn a_name_that_does_not_resolve_is_down_until_it_does() {
    in_namespace("a_name_that_does_not_resolve_is_down_until_it_does", || {
        let resolver = Resolver::without_server();
        let (front, known, later) = (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
        let name = format!("later.test:{}", later.addr().port());
        let config = Config::new().listener("main", front, "main", "");
        let config = config.pool("main", &[known.addr().to_string(), name.clone()], "policy = \"round-robin\"");
        let balancer = Balancer::start(&config);
        assert_eq!((up(&balancer, &name), up(&balancer, &known.addr().to_string())), (0.0, 1.0));
        let reached: Vec<_> = (0..4).map(|_| greeted(front).1).collect();
        assert_eq!(reached, [known.addr(); 4]);
        wait_until("the log names it", SOON, || complaints(&balancer, &name) > 0);

        resolver.know(&["later.test"]);
        wait_until("it is asked for again", SOON, || up(&balancer, &name) == 1.0);
        let reached: Vec<_> = (0..4).map(|_| greeted(front).1).collect();
        assert!(reached.contains(&later.addr()) && reached.contains(&known.addr()), "{reached:?}");
    });
}

#[test]
fn a_name_that_stops_resolving_keeps_its_last_address() {
    in_namespace("a_name_that_stops_resolving_keeps_its_last_address", || {
        let resolver = Resolver::without_server();
        let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
        let name = format!("db.test:{}", back.addr().port());
        let config = |weight: u32| {
            let backend = format!("{{ address = \"{name}\", weight = {weight} }}");
            Config::new().listener("main", front, "main", "").pool_of("main", &backend, "")
        };
        resolver.know(&["db.test"]);
        let balancer = Balancer::start(&config(1));
        assert_echo(&mut greeted(front).0);

        resolver.know(&[]);
        for weight in 2..5 {
            balancer.reload_done(&config(weight));
            wait_until("the name was asked for", SOON, || complaints(&balancer, &name) > 0);
            assert_echo(&mut greeted(front).0);
            assert_eq!(up(&balancer, &name), 1.0);
        }
    });
}

#[test]
fn clients_go_where_they_went_until_it_is_known_where_a_new_name_is() {
    in_namespace("clients_go_where_they_went_until_it_is_known_where_a_new_name_is", || {
        let resolver = Resolver::silent();
        let (front, old, new) = (free_addr(), Backend::start(Behaviour::Greet), Backend::start(Behaviour::Greet));
        let config =
            |pool: &str, backend: &str| Config::new().listener("main", front, pool, "").pool(pool, &[backend], "");
        let balancer = Balancer::start(&config("main", &old.addr().to_string()));
        for (pool, name) in [("main", "one.test"), ("renamed", "two.test")] {
            balancer.reload_done(&config(pool, &format!("{name}:{}", new.addr().port())));
            assert_eq!(greeted(front).1, old.addr(), "the reload is done and nobody is refused");
        }
        resolver.know(&["three.test"]);
        balancer.reload_done(&config("main", &format!("three.test:{}", new.addr().port())));
        wait_until("the new backend is in use", SOON, || greeted(front).1 == new.addr());
        // A resolver that has been waited for in vain is an answer as well.
        balancer.reload_done(&config("main", &format!("four.test:{}", new.addr().port())));
        wait_until("there is nobody to go to", SOON, || refuses(front));
    });
}

fn refuses(front: SocketAddr) -> bool {
    try_connect(front).and_then(|mut stream| read_greeting(&mut stream)).is_err()
}

/// `evenkeel_backend_up` of this backend.
#[track_caller]
fn up(balancer: &Balancer, backend: &str) -> f64 {
    balancer.metrics().value("evenkeel_backend_up", &[("backend", backend)])
}

/// Records that say that this name does not resolve.
fn complaints(balancer: &Balancer, name: &str) -> usize {
    balancer.log.events().iter().filter(|event| event.text("name") == name).count()
}
