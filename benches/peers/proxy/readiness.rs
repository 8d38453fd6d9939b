//! Whether a proxy serves, and whether it still does.

use std::fs;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peers::Transport;

/// The kernel's names for the states of sockets.
mod state {
    pub(super) const ESTABLISHED: &str = "01";
    pub(super) const CLOSE_WAIT: &str = "08";
    pub(super) const LISTEN: &str = "0A";
    /// Of a UDP socket: it is bound.
    pub(super) const CLOSE: &str = "07";
}

/// Asks the kernel rather than connecting: a probe would reach a backend and spoil the accounts.
pub(super) fn is_listening(addr: SocketAddr, transport: Transport) -> io::Result<bool> {
    match transport {
        Transport::Tcp => has_socket("/proc/net/tcp", addr, &[state::LISTEN]),
        Transport::Udp => has_socket("/proc/net/udp", addr, &[state::CLOSE]),
    }
}

/// Whether it has a client's connection that it has not closed.
pub(super) fn has_sessions(addr: SocketAddr) -> io::Result<bool> {
    has_socket("/proc/net/tcp", addr, &[state::ESTABLISHED, state::CLOSE_WAIT])
}

/// Whether `table` of the kernel has a socket with this local port in one of these states.
fn has_socket(table: &str, addr: SocketAddr, states: &[&str]) -> io::Result<bool> {
    let port = format!(":{:04X}", addr.port());
    Ok(fs::read_to_string(table)?.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port))
            && columns.nth(1).is_some_and(|state| states.contains(&state))
    }))
}

/// Whether `GET /readyz` is answered with 200.
pub(super) async fn readyz(admin: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}
