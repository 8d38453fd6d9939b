//! Bounds of a listener and of the process: what is over them is refused at once and counted, what is idle is closed.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use support::backend::{Backend, Behaviour, greeted};
use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::socket::{addr_of, assert_echo, assert_end, assert_refused, at_end, end, listen, pass_byte, session};
use support::wait::{SOON, at_a_pace, wait_until};

/// Refusing is one close: it needs no backend and no timer.
const AT_ONCE: Duration = Duration::from_millis(500);

#[test]
fn a_full_listener_refuses_at_once_and_takes_clients_again_after() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new().listener("main", front, "main", "max_connections = 3").pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&config);
    let mut held: Vec<_> = (0..3).map(|_| greeted(front).0).collect();
    for _ in 0..5 {
        let started = Instant::now();
        assert_refused(front);
        assert!(started.elapsed() < AT_ONCE, "refused after {:?}", started.elapsed());
    }
    assert_eq!(refused(&balancer, "main", "listener-full"), 5.0);
    assert_eq!(balancer.active_sessions(), 3.0);
    assert_eq!(back.accepted(), 3, "a refused client costs no backend a connection");
    held.iter_mut().for_each(assert_echo);

    held.pop();
    wait_until("there is room", SOON, || balancer.active_sessions() == 2.0);
    assert_echo(&mut greeted(front).0);
}

#[test]
fn a_full_process_refuses_on_every_listener() {
    let (one, two, back) = (free_addr(), free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new()
        .top("max_connections = 2")
        .listener("one", one, "main", "")
        .listener("two", two, "main", "")
        .pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&config);
    let mut held = [greeted(one).0, greeted(two).0];
    assert_refused(one);
    assert_refused(two);
    assert_eq!(refused(&balancer, "one", "process-full"), 1.0);
    assert_eq!(refused(&balancer, "two", "process-full"), 1.0);
    held.iter_mut().for_each(assert_echo);
}

#[test]
fn a_reload_moves_the_bound_and_keeps_who_is_inside() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let config = |max: u32| {
        let keys = format!("max_connections = {max}");
        Config::new().listener("main", front, "main", &keys).pool("main", &[back.addr()], "")
    };
    let balancer = Balancer::start(&config(3));
    let mut held: Vec<_> = (0..3).map(|_| greeted(front).0).collect();
    balancer.reload_done(&config(1));
    held.iter_mut().for_each(assert_echo);
    assert_refused(front);
    balancer.reload_done(&config(4));
    held.push(greeted(front).0);
    held.iter_mut().for_each(assert_echo);
    assert_refused(front);
}

#[test]
fn an_idle_session_is_closed_and_a_busy_one_is_not() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&idle_config(front, addr_of(&back)));
    let (mut idle_client, mut idle_backend) = session(front, &back);
    pass_byte(&mut idle_client, &mut idle_backend);
    let (mut client, mut backend) = session(front, &back);
    at_a_pace(Duration::from_millis(250), 12, |index| match index % 2 {
        0 => pass_byte(&mut client, &mut backend),
        _ => pass_byte(&mut backend, &mut client),
    });

    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("side")), ("idle-timeout", "us"));
    let total_ms = record.number("total_ms");
    assert!((1_000.0..3_000.0).contains(&total_ms), "closed after {total_ms} ms");
    assert!(at_end(&idle_client) && at_end(&idle_backend), "both sides of the idle one are closed");

    end(&client);
    assert_end(&mut backend);
    end(&backend);
    assert_end(&mut client);
    assert_eq!(balancer.log.nth_session(1, SOON).text("reason"), "finished");
    balancer.wait_idle(SOON);
}

#[test]
fn a_stalled_session_is_idle_too() {
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&idle_config(front, addr_of(&back)));
    let (mut client, backend) = session(front, &back);
    support::socket::flood(&mut client);
    // Nobody reads: no byte moves, so the limit holds although bytes wait.
    assert_eq!(balancer.log.only_session().text("reason"), "idle-timeout");
    assert!(at_end(&client), "the sender learns of it");
    drop(backend);
    balancer.wait_idle(SOON);
}

fn idle_config(front: SocketAddr, back: SocketAddr) -> Config {
    Config::new().listener("main", front, "main", "idle_timeout = \"1s\"").pool("main", &[back], "")
}

#[track_caller]
fn refused(balancer: &Balancer, listener: &str, reason: &str) -> f64 {
    balancer.metrics().sum("evenkeel_listener_refused_total", &[("listener", listener), ("reason", reason)])
}
