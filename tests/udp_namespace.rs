//! Datagrams where addresses are our own to give: floods from made-up ones, and replies that leave from the right one.

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use support::balancer::Balancer;
use support::config::Config;
use support::datagram::{Echo, NONSENSE, Spoofer, ask, client, client_from};
use support::flows::{closed, dropped, flows_active, udp};
use support::namespace::{in_namespace, ip};
use support::port::{free_addr, free_port};
use support::wait::{SOON, wait_until};

const SOURCES: u32 = 200_000;
const MAX_FLOWS: u32 = 10_000;

/// Datagrams of the flood under way at any time: about what the kernel queues for a socket of a program that does not ask
/// for more, and half of what it queues for the loopback device.
const WINDOW: u32 = 500;

#[test]
fn a_flood_of_made_up_sources_pushes_out_nobody_who_was_answered() {
    in_namespace("a_flood_of_made_up_sources_pushes_out_nobody_who_was_answered", || {
        let echo = Echo::start();
        let front = free_addr();
        let config = |idle: &str| {
            let keys = format!("max_flows = {MAX_FLOWS}\nflow_idle_timeout = \"{idle}\"");
            udp(front, slice::from_ref(&echo), &keys)
        };
        let balancer = Balancer::start(&config("10m"));
        let (descriptors, memory) = (balancer.settled_descriptors(), balancer.process.resident_bytes());
        let established: Vec<UdpSocket> = (0..100).map(|_| client(front)).collect();
        established.iter().for_each(|client| drop(ask(client, b"before").expect("an answer")));

        // The first round has been asked.
        let asked = AtomicU32::new(100);
        let answered = thread::scope(|scope| {
            let flood = scope.spawn(|| flood(front, &balancer, &asked));
            let mut answered = 100;
            for client in established.iter().cycle() {
                if flood.is_finished() {
                    break;
                }
                asked.fetch_add(1, Ordering::Relaxed);
                answered += u32::from(ask(client, b"during").is_ok());
            }
            flood.join().expect("the flood passes");
            answered
        });
        let asked = asked.into_inner();
        assert!(asked > 1_000, "only {asked} questions were asked meanwhile");
        assert!(u64::from(answered) * 100 >= u64::from(asked) * 99, "{answered} of {asked} had their answers");
        assert_eq!(echo.answered(), 100, "they are the flows that they were");
        let refused = dropped(&balancer, Some("table-full"));
        assert!(
            closed(&balancer, "evicted") + refused >= f64::from(SOURCES - MAX_FLOWS),
            "the flood came to the table"
        );
        let growth = balancer.process.resident_bytes().saturating_sub(memory);
        assert!(growth < u64::from(MAX_FLOWS) * 1_536, "{growth} bytes more than before, 1.5 KiB a flow are too much");
        let records = balancer.log.sessions().len();
        assert!(records < SOURCES as usize / 50, "{records} records: the log is flooded as well");

        balancer.reload_done(&config("1s"));
        wait_until("the flood is forgotten", SOON, || {
            established.iter().for_each(|client| drop(ask(client, b"after").expect("an answer")));
            flows_active(&balancer) == 100.0
        });
        assert!(ask(&client(front), b"new").is_ok(), "there is room again");
        assert_eq!((echo.answered(), dropped(&balancer, Some("table-full"))), (101, refused));
        balancer.wait_idle(SOON);
        assert_eq!(balancer.settled_descriptors(), descriptors);
    });
}

/// Sends one datagram from each of many sources, none of which is ever answered.
///
/// Never more at once than the balancer's socket has room for: what overflows there is lost for everybody alike, and says
/// nothing about the table.
fn flood(front: SocketAddr, balancer: &Balancer, asked: &AtomicU32) {
    let spoofer = Spoofer::new();
    for sent in 1..=SOURCES {
        let [_, a, b, c] = (sent + 256).to_be_bytes();
        spoofer.send(SocketAddr::from(([127, 64 + a, b, c], 4_000)), front, NONSENSE);
        if sent % WINDOW == 0 {
            wait_until("the balancer has seen them", SOON, || {
                let others = asked.load(Ordering::Relaxed);
                let metrics = balancer.metrics();
                let received = metrics.sum("evenkeel_datagram_batch_size_sum", &[]);
                let lost = metrics.sum("evenkeel_datagrams_dropped_total", &[("reason", "receive-buffer-overrun")]);
                received + lost >= f64::from(sent + others)
            });
            let active = flows_active(balancer);
            assert!(active <= f64::from(MAX_FLOWS), "{active} flows");
        }
    }
}

#[test]
fn a_wildcard_bind_answers_from_the_address_that_was_asked_in_both_families() {
    in_namespace("a_wildcard_bind_answers_from_the_address_that_was_asked_in_both_families", || {
        let families = [["127.0.0.1", "192.0.2.1", "192.0.2.2"], ["::1", "2001:db8::1", "2001:db8::2"]];
        for addr in families.iter().flat_map(|addrs| &addrs[1..]) {
            ip(&["address", "add", addr, "dev", "lo"]);
        }
        let echo = Echo::start();
        let port = free_port();
        let config = Config::new()
            .udp_listener_on("main", &[format!("0.0.0.0:{port}"), format!("[::]:{port}")], "main", "")
            .pool("main", &[echo.addr()], "");
        let balancer = Balancer::start(&config);
        for family in families {
            let [one, two, three] = family.map(|addr| addr.parse::<IpAddr>().expect("an address"));
            // Asked from elsewhere, so that the address that was asked is not the one that the kernel would choose.
            for (from, to) in [(two, one), (three, two), (one, three), (one, two)] {
                // A connected socket hears nobody but the address that it sent to.
                let client = client_from(from, SocketAddr::new(to, port));
                for length in [0, 100, 20_000] {
                    let request = vec![b'?'; length];
                    let reply = ask(&client, &request).expect("an answer");
                    assert!(reply.ends_with(&request), "{length} bytes from {from} to {to}");
                }
            }
            assert_one_port_may_ask_several_addresses(one, &[one, two, three], port);
        }
        // Four clients and one with a flow for each of three addresses, in each family.
        assert_eq!(flows_active(&balancer), 14.0);
        assert_eq!(dropped(&balancer, None), 0.0);
    });
}

/// What is sent from one port to several of our addresses is so many flows, and each is answered from its own.
fn assert_one_port_may_ask_several_addresses(from: IpAddr, addrs: &[IpAddr], port: u16) {
    let client = UdpSocket::bind((from, 0)).expect("there are free ports");
    client.set_read_timeout(Some(SOON)).expect("a socket takes a timeout");
    for _ in 0..2 {
        for &addr in addrs {
            client.send_to(addr.to_string().as_bytes(), (addr, port)).expect("sent");
        }
        for _ in addrs {
            let mut reply = [0; 100];
            let (length, source) = client.recv_from(&mut reply).expect("an answer");
            assert!(reply[..length].ends_with(source.ip().to_string().as_bytes()), "{source} answers for another");
        }
    }
}
