//! As many bytes as go through, one way. Either end of a connection may be the sender. Bytes are counted at both ends
//! and not compared: that would cost the load's CPU more than moving them, and exchanges compare every byte.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cases::Direction;
use crate::tally::Tally;

/// Bytes offered to one system call: large enough that clients and backends are not what is measured.
const CHUNK: usize = 256 << 10;

/// One client, as sender or receiver by direction.
pub(super) async fn client(addr: SocketAddr, direction: Direction, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = super::connect(addr, None).await?;
    match direction {
        Direction::Upstream => send(&mut stream, &tally).await,
        Direction::Downstream => receive(&mut stream, &tally).await,
    }
}

/// Writes until the load stops, ends the stream, and expects the other side's end.
pub(crate) async fn send(stream: &mut TcpStream, tally: &Tally) -> io::Result<()> {
    let chunk = vec![0x5a; CHUNK];
    while !tally.is_stopping() {
        tally.add_sent(stream.write(&chunk).await?);
    }
    super::exchange::finish(stream).await
}

/// Reads to the end, then ends its own side.
pub(crate) async fn receive(stream: &mut TcpStream, tally: &Tally) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk).await? {
            0 => return stream.shutdown().await,
            count => tally.add_received(count),
        }
    }
}
