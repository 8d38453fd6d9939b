//! Which backend a flow has: what becomes of it when that one dies, falls silent or fails its checks.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Answers, Echo, answered_by, ask, ask_again, ask_in_vain, client};
use support::flows::{is_up, udp};
use support::port::{free_addr, free_port};
use support::wait::{SOON, hold_for, wait_for, wait_until};

#[test]
fn flows_of_a_killed_backend_move_with_the_datagram_that_its_machine_refuses() {
    for policy in ["move", "lame-duck"] {
        let (mut echoes, front) = (vec![Echo::start(), Echo::start()], free_addr());
        let balancer = Balancer::start(&udp(front, &echoes, &format!("on_backend_down = \"{policy}\"")));
        let clients = [client(front), client(front)];
        let ports = clients.each_ref().map(|client| answered_by(client, b"1"));
        let survivor = echoes.swap_remove(position(&echoes, ports[1]));
        // The other one is killed: its machine refuses datagrams from now on.
        drop(echoes);
        let reply = ask_again(&clients[0], b"2");
        assert_eq!(reply, format!("{}:2", survivor.addr().port()).into_bytes(), "{policy}");
        assert_eq!(answered_by(&clients[1], b"3"), survivor.addr().port(), "the other flow is not touched");
        wait_until("the refusals are counted", SOON, || {
            balancer.metrics().sum("evenkeel_backend_icmp_errors_total", &[]) > 0.0
        });
    }
}

#[test]
fn a_flow_that_sticks_waits_for_its_own_backend_to_come_back() {
    let (mut echoes, front) = (vec![Echo::start(), Echo::start()], free_addr());
    let balancer = Balancer::start(&checked(front, &echoes, "stick"));
    wait_until("both are up", SOON, || echoes.iter().all(|echo| is_up(&balancer, echo.addr())));
    let flow = client(front);
    let home = answered_by(&flow, b"1");
    let addr = echoes.swap_remove(position(&echoes, home)).addr();
    // Refused at first, and then known to be down: neither is a reason to go elsewhere.
    wait_until("it is down", SOON, || ask_in_vain(&flow, b"2").is_none() && !is_up(&balancer, addr));
    hold_for("nobody else answers", Duration::from_secs(1), || ask_in_vain(&flow, b"3").is_none());
    let _revived = Echo::start_on(addr, Duration::ZERO);
    // It may have got what was sent a moment before.
    assert!(ask_again(&flow, b"4").starts_with(format!("{home}:").as_bytes()));
}

#[test]
fn a_lame_duck_keeps_its_flows_while_it_answers_and_loses_them_when_it_does_not() {
    let (echoes, front) = ([Echo::start(), Echo::start()], free_addr());
    let balancer = Balancer::start(&checked(front, &echoes, "lame-duck"));
    wait_until("both are up", SOON, || echoes.iter().all(|echo| is_up(&balancer, echo.addr())));
    let flow = client(front);
    let home = answered_by(&flow, b"1");
    let duck = &echoes[position(&echoes, home)];
    let other = echoes.iter().map(|echo| echo.addr().port()).find(|port| *port != home).expect("there are two");

    duck.set(Answers::NoProbes);
    wait_until("its probes fail", SOON, || !is_up(&balancer, duck.addr()));
    assert_eq!(answered_by(&client(front), b"new"), other, "it gets no more flows");
    // Longer than a datagram may wait for its answer.
    hold_for("it answers its flow", Duration::from_millis(1_500), || answered_by(&flow, b"2") == home);

    duck.set(Answers::Nothing);
    let silent_since = Instant::now();
    let reply = wait_for("the flow has an answer again", SOON, || ask_in_vain(&flow, b"3"));
    assert_eq!(reply, format!("{other}:3").into_bytes());
    let waited = silent_since.elapsed();
    // A second, as the balancer's clock has it, which ticks in milliseconds.
    assert!(waited >= Duration::from_millis(990), "{waited:?} of silence are no proof");
}

#[test]
fn flows_of_a_backend_that_falls_silent_move_when_its_probes_have_failed() {
    const INTERVAL_MS: u32 = 300;
    let (echoes, front) = ([Echo::start(), Echo::start()], free_addr());
    let config = Config::new().udp_listener("main", front, "main", "").pool(
        "main",
        &echoes.each_ref().map(Echo::addr),
        &format!(
            "[pools.main.health_check]\ntype = \"udp\"\nsend = \"probe\"\n\
             interval = \"{INTERVAL_MS}ms\"\ntimeout = \"{INTERVAL_MS}ms\"\nrise = 1\nfall = 3"
        ),
    );
    let balancer = Balancer::start(&config);
    wait_until("both are up", SOON, || echoes.iter().all(|echo| is_up(&balancer, echo.addr())));
    let flow = client(front);
    let home = answered_by(&flow, b"1");
    let gone = &echoes[position(&echoes, home)];

    gone.set(Answers::Nothing);
    let silent_since = Instant::now();
    // fall x (interval + timeout), with a quarter on top for jitter and for a machine that has other things to do.
    let bound = Duration::from_millis(u64::from(3 * (INTERVAL_MS + INTERVAL_MS) * 5 / 4));
    let reply = wait_for("the flow has an answer again", bound, || ask_in_vain(&flow, b"2"));
    assert_ne!(reply, format!("{home}:2").into_bytes());
    let waited = silent_since.elapsed();
    assert!(waited > Duration::from_millis((2 * INTERVAL_MS).into()), "one lost probe is not enough: {waited:?}");
    assert!(!is_up(&balancer, gone.addr()));
}

#[test]
fn a_tcp_probe_may_watch_the_backends_of_datagrams() {
    let (front, watched) = (free_addr(), free_port());
    let ips = [1, 2].map(|last| Ipv4Addr::new(127, 0, 0, last));
    let echoes = ips.map(|ip| Echo::start_on((ip, free_port()).into(), Duration::ZERO));
    let mut daemons = ips.map(|ip| Some(TcpListener::bind((ip, watched)).expect("the port is free")));
    let config = Config::new()
        .udp_listener("main", front, "main", "")
        .pool("main", &echoes.each_ref().map(Echo::addr), "")
        .health_check_with("main", &format!("port = {watched}\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2"));
    let balancer = Balancer::start(&config);
    wait_until("both are up", SOON, || echoes.iter().all(|echo| is_up(&balancer, echo.addr())));
    let flow = client(front);
    let home = position(&echoes, answered_by(&flow, b"1"));
    // The port of the datagrams goes on answering; it is not what is watched.
    daemons[home].take();
    wait_until("it is down", SOON, || !is_up(&balancer, echoes[home].addr()));
    assert_eq!(answered_by(&flow, b"2"), echoes[1 - home].addr().port());
}

#[test]
fn a_backend_that_answers_nobody_is_ejected() {
    let (echo, silent, front) = (Echo::start(), Echo::start(), free_addr());
    silent.set(Answers::Nothing);
    let check = "unanswered = 2\nflows = 2\nwindow = \"10s\"\neject_for = \"1m\"\neject_for_at_most = \"1m\"";
    let balancer = Balancer::start(&passively_checked(front, [echo.addr(), silent.addr()], check));
    let clients: Vec<UdpSocket> = (0..8).map(|_| client(front)).collect();
    let mut round = 0_u32;
    wait_until("it is ejected", SOON, || {
        round += 1;
        clients.iter().for_each(|client| drop(ask_in_vain(client, &round.to_be_bytes())));
        !is_up(&balancer, silent.addr())
    });
    assert!(is_up(&balancer, echo.addr()));
    for client in &clients {
        // Those of the living one may have old answers waiting.
        let answer = format!("{}:now?", echo.addr().port()).into_bytes();
        wait_until("the living one answers", SOON, || ask_in_vain(client, b"now?").is_some_and(|it| it == answer));
    }
}

#[test]
fn an_ejected_backend_comes_back_and_stays_if_it_answers() {
    let (echo, silent, front) = (Echo::start(), Echo::start(), free_addr());
    silent.set(Answers::Nothing);
    let check = "unanswered = 2\nflows = 2\nwindow = \"5s\"\neject_for = \"1s\"";
    let balancer = Balancer::start(&passively_checked(front, [echo.addr(), silent.addr()], check));
    // Counted, for it may come back before anybody has looked.
    let labels = [("backend", &*silent.addr().to_string())];
    let transitions = || balancer.metrics().value("evenkeel_health_transitions_total", &labels);
    wait_until("it is ejected", SOON, || {
        let client = client(front);
        for _ in 0..2 {
            let _unheard = ask_in_vain(&client, b"anybody?");
        }
        transitions() >= 1.0
    });
    silent.set(Answers::All);
    wait_until("it is back and answers", SOON, || answered_by(&client(front), b"again?") == silent.addr().port());
    let back = transitions();
    hold_for("it stays", Duration::from_secs(2), || {
        answered_by(&client(front), b"still?");
        transitions() == back && is_up(&balancer, silent.addr())
    });
}

#[test]
fn a_backend_whose_machine_refuses_datagrams_is_ejected() {
    let (echo, nobody, front) = (Echo::start(), free_addr(), free_addr());
    let check = "unanswered = 1_000\nflows = 2\nwindow = \"10s\"\neject_for = \"1m\"\neject_for_at_most = \"1m\"";
    let balancer = Balancer::start(&passively_checked(front, [echo.addr(), nobody], check));
    // A client whose datagram was refused goes elsewhere with the next one, so each new one gives evidence once.
    wait_until("it is ejected", SOON, || {
        let _refused = ask_in_vain(&client(front), b"anybody?");
        !is_up(&balancer, nobody)
    });
    let labels = [("backend", &*nobody.to_string())];
    let refusals = || balancer.metrics().value("evenkeel_backend_icmp_errors_total", &labels);
    let before = refusals();
    assert!(before >= 2.0, "{before} refusals");
    for _ in 0..10 {
        assert!(ask(&client(front), b"now?").is_ok());
    }
    assert_eq!(refusals(), before, "nobody is sent there any more");
}

/// A listener whose backends a UDP probe watches.
fn checked(front: SocketAddr, echoes: &[Echo], on_backend_down: &str) -> Config {
    udp(front, echoes, &format!("on_backend_down = \"{on_backend_down}\"")).udp_check("main")
}

/// A listener whose backends are judged by what becomes of its datagrams.
fn passively_checked(front: SocketAddr, backends: [SocketAddr; 2], check: &str) -> Config {
    let check = format!("policy = \"round-robin\"\n[pools.main.passive_check]\n{check}");
    Config::new().udp_listener("main", front, "main", "").pool("main", &backends, &check)
}

/// Which of `echoes` has this port.
fn position(echoes: &[Echo], port: u16) -> usize {
    echoes.iter().position(|echo| echo.addr().port() == port).expect("one of them")
}
