//! A probe that sends a datagram and waits for its answer.
//!
//! Each probe has a connected socket of its own: only the backend's address can answer it, an earlier probe's late
//! answer finds a closed port, and an ICMP error is an error of the next call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::config::UdpProbe;

/// The largest datagram there is.
const LARGEST: usize = 65_535;

/// Sends what the probe sends; the first answer decides.
pub(super) async fn exchange(addr: SocketAddr, probe: &UdpProbe) -> io::Result<()> {
    let socket = connect(addr).await?;
    socket.send(&probe.send).await?;
    let mut answer = vec![0; LARGEST];
    let received = socket.recv(&mut answer).await?;
    if !answer[..received].starts_with(&probe.expect) {
        return Err(io::Error::other("the answer is not the expected one"));
    }
    Ok(())
}

/// A socket from any port that hears this address alone.
pub(super) async fn connect(addr: SocketAddr) -> io::Result<UdpSocket> {
    let any = if addr.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(addr).await?;
    Ok(socket)
}
