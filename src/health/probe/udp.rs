//! A probe that sends a datagram and waits for its answer.
//!
//! Each probe has a connected socket of its own: only the backend's address can answer it, an earlier probe's late
//! answer finds a closed port, and an ICMP error is an error of the next call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::Failure;
use crate::config::UdpProbe;

/// The largest datagram there is.
const LARGEST: usize = 65_535;

/// Sends what the probe sends; the first answer decides.
pub(super) async fn exchange(addr: SocketAddr, probe: &UdpProbe) -> Result<(), Failure> {
    let socket = send(addr, &probe.send).await.map_err(Failure::Unsent)?;
    let mut answer = vec![0; LARGEST];
    let received = socket.recv(&mut answer).await.map_err(Failure::Unanswered)?;
    if answer[..received].starts_with(&probe.expect) {
        Ok(())
    } else {
        Err(Failure::Wrong("the answer is not the expected one".into()))
    }
}

/// A socket from any port that hears this address alone, and has sent it this.
pub(super) async fn send(addr: SocketAddr, datagram: &[u8]) -> io::Result<UdpSocket> {
    let any = if addr.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(addr).await?;
    socket.send(datagram).await?;
    Ok(socket)
}
