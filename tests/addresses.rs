//! Every kind of address, in front and behind.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};

use support::backend::{Backend, Behaviour};
use support::balancer::Balancer;
use support::config::Config;
use support::port::{free_addr, free_port};
use support::socket::{PATIENCE, assert_echo, assert_end, connect, end, wait_closed};
use support::wait::{SOON, wait_until};

#[test]
fn a_listener_on_ipv4_and_ipv6_serves_both() {
    let (port, back) = (free_port(), Backend::start(Behaviour::Echo));
    let (four, six) = (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let config = Config::new().listener_on("main", &[four, six], "main", "").pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&config);
    assert_echo(&mut connect(four));
    assert_echo(&mut connect(six));
    balancer.wait_idle(SOON);
    assert_eq!(balancer.metrics().sum("evenkeel_listener_sessions_total", &[("listener", "main")]), 2.0);
    let clients: Vec<_> =
        balancer.log.first_sessions(2).iter().map(|record| record.text("client").to_owned()).collect();
    assert!(clients.iter().any(|client| client.starts_with("127.0.0.1:")), "{clients:?}");
    assert!(clients.iter().any(|client| client.starts_with("[::1]:")), "{clients:?}");
}

#[test]
fn an_ipv6_wildcard_is_ipv6_only_unless_both_are_named() {
    let (port, back) = (free_port(), Backend::start(Behaviour::Echo));
    let (four, six) = (SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let six_only = Config::new().listener("main", format!("[::]:{port}"), "main", "");
    let balancer = Balancer::start(&six_only.pool("main", &[back.addr()], ""));
    assert_echo(&mut connect(six));
    wait_closed(four);

    let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    let dual = Config::new().listener_on("main", &both, "main", "").pool("main", &[back.addr()], "");
    balancer.reload_done(&dual);
    assert_echo(&mut connect(six));
    assert_echo(&mut connect(four));
}

#[test]
fn an_ipv6_backend_is_reached() {
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("::1 is there");
    let (front, back) = (free_addr(), Backend::start_on(listener, Behaviour::Echo));
    let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
    let balancer = Balancer::start(&config);
    assert_echo(&mut connect(front));
    assert_eq!(balancer.log.only_session().text("backend"), back.addr().to_string());
}

#[test]
fn a_name_is_resolved_and_kept_as_the_identity() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Echo));
    let name = format!("localhost:{}", back.addr().port());
    let config = Config::new().listener("main", front, "main", "").pool("main", &[&name], "");
    let balancer = Balancer::start(&config);
    assert_echo(&mut connect(front));
    assert_eq!(balancer.log.only_session().text("backend"), name);
}

#[test]
fn a_unix_backend_is_reached() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("backend.sock");
    let listener = UnixListener::bind(&path).expect("a fresh path");
    let front = free_addr();
    let backend = format!("unix:{}", path.display());
    let config = Config::new().listener("main", front, "main", "").pool("main", &[&backend], "");
    let balancer = Balancer::start(&config);

    let mut client = connect(front);
    let (mut server, _) = listener.accept().expect("the balancer connects");
    client.write_all(b"over").expect("a session");
    end(&client);
    let mut asked = String::new();
    server.read_to_string(&mut asked).expect("bytes and an end");
    assert_eq!(asked, "over");
    server.write_all(b"and back").expect("a session");
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("bytes and an end");
    assert_eq!(answer, "and back");
    let record = balancer.log.only_session();
    assert_eq!((record.text("reason"), record.text("backend")), ("finished", backend.as_str()));
    balancer.wait_idle(SOON);
}

#[test]
fn a_unix_listener_serves_and_its_path_goes_with_it() {
    let (tcp, back) = (free_addr(), Backend::start(Behaviour::Echo));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("front.sock");
    let with = |unix: bool| {
        let config = Config::new().listener("tcp", tcp, "main", "").pool("main", &[back.addr()], "");
        if unix { config.listener("unix", format!("unix:{}", path.display()), "main", "") } else { config }
    };
    let balancer = Balancer::start(&with(true));
    let mut clients: Vec<_> = (0..4).map(|_| UnixStream::connect(&path).expect("it listens")).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).expect("a socket");
        client.write_all(b"hello").expect("a session");
        client.shutdown(Shutdown::Write).expect("a connected socket");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("bytes and an end");
        assert_eq!(answer, "hello");
    }
    balancer.wait_idle(SOON);
    assert_eq!(balancer.metrics().sum("evenkeel_listener_sessions_total", &[("listener", "unix")]), 4.0);

    balancer.reload_done(&with(false));
    wait_until("nobody listens there any more", SOON, || UnixStream::connect(&path).is_err());
    balancer.reload_done(&with(true));
    UnixStream::connect(&path).expect("it listens again");
}

#[test]
fn a_client_that_speaks_second_is_served() {
    let (front, back) = (free_addr(), Backend::start(Behaviour::Greet));
    let config = Config::new().listener("main", front, "main", "").pool("main", &[back.addr()], "");
    let _balancer = Balancer::start(&config);
    // Nothing is sent before the greeting has arrived: accepting must not wait for the client's first byte.
    let (mut client, reached) = support::backend::greeted(front);
    assert_eq!(reached, back.addr());
    assert_echo(&mut client);
    end(&client);
    assert_end(&mut client);
}
