//! A reset on one side is a reset on the other, at once, whatever state the session is in; it never turns into a
//! clean end.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use support::balancer::Balancer;
use support::config::Config;
use support::port::free_addr;
use support::process::TcpState;
use support::socket::{addr_of, assert_end, end, flood, listen, pass_byte, reset, session, wait_reset};
use support::wait::SOON;

/// What "at once" means.
const AT_ONCE: Duration = Duration::from_millis(100);

/// One test measures at a time, so that they do not slow each other.
static MEASURING: Mutex<()> = Mutex::new(());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Backend,
}

/// What happened in the session before the reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing but the connection.
    Nothing,
    /// A byte each way.
    Exchange,
    /// One side ended its direction.
    End(Side),
    /// One side sent more than the other wants to read, and waits.
    Flood(Side),
    /// Both did.
    FloodBoth,
    /// One side ended, and the other then sent more than the first wants to read.
    EndThenFlood(Side),
}

const CASES: [Before; 9] = [
    Before::Nothing,
    Before::Exchange,
    Before::End(Side::Client),
    Before::End(Side::Backend),
    Before::Flood(Side::Client),
    Before::Flood(Side::Backend),
    Before::FloodBoth,
    Before::EndThenFlood(Side::Client),
    Before::EndThenFlood(Side::Backend),
];

#[test]
fn a_reset_of_either_side_reaches_the_other_at_once() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back));
    let mut ended = 0;
    for before in CASES {
        for resetter in [Side::Client, Side::Backend] {
            let case = format!("{resetter:?} resets after {before:?}");
            eprintln!("{case}");
            let (mut client, mut backend) = session(front, &back);
            before.play(&mut client, &mut backend);
            let (gone, survivor) = match resetter {
                Side::Client => (&client, &backend),
                Side::Backend => (&backend, &client),
            };
            reset(gone);
            wait_reset(&format!("the survivor, when {case},"), survivor, AT_ONCE);

            let record = balancer.log.nth_session(ended, SOON);
            let expected = match resetter {
                Side::Client => ("client-reset", "downstream"),
                Side::Backend => ("backend-reset", "upstream"),
            };
            assert_eq!((record.text("reason"), record.text("side")), expected, "{case}");
            ended += 1;
        }
    }
    assert_eq!(ended, 2 * CASES.len());
    balancer.wait_idle(SOON);
    balancer.wait_no_close_wait();
    assert_eq!(balancer.process.sockets_in(TcpState::Established, Some(front)), 0);
}

#[test]
fn closing_with_unread_data_is_a_reset_too() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let (front, back) = (free_addr(), listen());
    let balancer = Balancer::start(&config(front, &back));
    let (client, mut backend) = session(front, &back);
    flood(&mut backend);
    // The kernel resets when a socket with unread data is closed: the common way in which clients give up a query.
    drop(client);
    wait_reset("the backend", &backend, AT_ONCE);
    assert_eq!(balancer.log.only_session().text("reason"), "client-reset");
    balancer.wait_idle(SOON);
}

impl Before {
    /// Brings a fresh session into this state.
    fn play(self, client: &mut TcpStream, backend: &mut TcpStream) {
        match self {
            Self::Nothing => {}
            Self::Exchange => {
                pass_byte(client, backend);
                pass_byte(backend, client);
            }
            Self::End(Side::Client) => end_seen(client, backend),
            Self::End(Side::Backend) => end_seen(backend, client),
            Self::Flood(Side::Client) => assert_ne!(flood(client), 0),
            Self::Flood(Side::Backend) => assert_ne!(flood(backend), 0),
            Self::FloodBoth => {
                assert_ne!(flood(client), 0);
                assert_ne!(flood(backend), 0);
            }
            Self::EndThenFlood(Side::Client) => {
                end_seen(client, backend);
                assert_ne!(flood(backend), 0);
            }
            Self::EndThenFlood(Side::Backend) => {
                end_seen(backend, client);
                assert_ne!(flood(client), 0);
            }
        }
    }
}

/// Ends `from`, and the end has arrived at `to`.
fn end_seen(from: &TcpStream, to: &mut TcpStream) {
    end(from);
    assert_end(to);
}

fn config(front: SocketAddr, back: &TcpListener) -> Config {
    Config::new().listener("main", front, "main", "").pool("main", &[addr_of(back)], "")
}
