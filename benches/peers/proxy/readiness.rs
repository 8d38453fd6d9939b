//! Whether a proxy serves.

use std::fs;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peers::Transport;

/// Asks the kernel rather than connecting: a probe would reach a backend and spoil the accounts.
pub(super) fn is_listening(addr: SocketAddr, transport: Transport) -> io::Result<bool> {
    // A UDP socket that is bound is in the state that the kernel calls CLOSE.
    let (table, state) = match transport {
        Transport::Tcp => ("/proc/net/tcp", "0A"),
        Transport::Udp => ("/proc/net/udp", "07"),
    };
    let port = format!(":{:04X}", addr.port());
    Ok(fs::read_to_string(table)?.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        columns.next().is_some_and(|local| local.ends_with(&port)) && columns.nth(1) == Some(state)
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
