//! What all kinds of clients over UDP share: their sockets, and a first exchange on each.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::readiness::Readiness;
use super::window::Window;
use crate::outcome::Failure;
use crate::proxy::Proxy;

/// Bytes of a small datagram.
pub(super) const SMALL: usize = 64;
/// What is not back by then is lost: a thousand times what it takes.
pub(super) const LOST_AFTER: Duration = Duration::from_millis(100);
/// Datagrams under way while each client has one exchange.
const OUTSTANDING: usize = 16;

/// Clients on ports of their own, connected to the proxy.
pub(super) fn clients(count: usize, proxy: &Proxy) -> io::Result<Vec<UdpSocket>> {
    let client = |_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(proxy.addr())?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    (0..count).map(client).collect()
}

/// Lets every client have a datagram and its reply, some of them at a time.
pub(super) fn exchange_once(clients: &[UdpSocket], window: &mut Window) -> Result<(), Failure> {
    let ready = Readiness::of(clients)?;
    let mut next = 0;
    let mut outstanding = 0;
    let mut begun = vec![Instant::now(); clients.len()];
    while next < clients.len() || outstanding > 0 {
        while next < clients.len() && outstanding < OUTSTANDING {
            begun[next] = Instant::now();
            clients[next].send(&[7; SMALL])?;
            window.sent += 1;
            next += 1;
            outstanding += 1;
        }
        let woken = ready.wait(LOST_AFTER)?;
        if woken.is_empty() {
            outstanding = 0;
        }
        for index in woken {
            clients[index].recv(&mut [0; SMALL])?;
            window.took(begun[index]);
            window.received += 1;
            outstanding = outstanding.saturating_sub(1);
        }
    }
    Ok(())
}
