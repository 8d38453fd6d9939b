//! As many bytes as go through, one way or both. Either end of a connection may be the sender. Bytes are counted at both
//! ends and not compared: that would cost the load's CPU more than moving them, and exchanges compare every byte.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::exchange::finish;
use crate::cases::{BULK_PLEASE, Direction};
use crate::tally::Tally;

/// Bytes offered to one system call: large enough that clients and backends are not what is measured.
const CHUNK: usize = 256 << 10;

/// One client.
pub(super) async fn client(addr: SocketAddr, direction: Direction, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = super::connect(addr, None).await?;
    match direction {
        Direction::Upstream => send_only(&mut stream, &tally).await,
        Direction::Downstream => receive_only(&mut stream, &tally).await,
        Direction::BothWays => send_and_receive(&mut stream, &tally).await,
    }
}

/// One client of a backend that also serves exchanges.
pub(super) async fn asking_client(addr: SocketAddr, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = super::connect(addr, None).await?;
    stream.write_all(&[BULK_PLEASE]).await?;
    receive_only(&mut stream, &tally).await
}

/// The backend's end of what [`client`] does.
pub(crate) async fn serve(stream: &mut TcpStream, direction: Direction, tally: &Tally) -> io::Result<()> {
    match direction {
        Direction::Upstream => receive_only(stream, tally).await,
        Direction::Downstream => send_only(stream, tally).await,
        Direction::BothWays => send_and_receive(stream, tally).await,
    }
}

/// Sends until the load stops, ends the stream, and expects nothing but the other side's end.
async fn send_only(stream: &mut TcpStream, tally: &Tally) -> io::Result<()> {
    send(stream, tally).await?;
    finish(stream).await
}

/// Receives to the end, then ends its own side.
async fn receive_only(stream: &mut TcpStream, tally: &Tally) -> io::Result<()> {
    receive(stream, tally).await?;
    stream.shutdown().await
}

async fn send_and_receive(stream: &mut TcpStream, tally: &Tally) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        send(&mut writer, tally).await?;
        writer.shutdown().await
    };
    tokio::try_join!(sending, receive(&mut reader, tally)).map(|_| ())
}

/// Writes until the load stops.
async fn send(stream: &mut (impl AsyncWrite + Unpin), tally: &Tally) -> io::Result<()> {
    let chunk = vec![0x5a; CHUNK];
    while !tally.is_stopping() {
        tally.add_sent(stream.write(&chunk).await?);
    }
    Ok(())
}

/// Reads to the end.
async fn receive(stream: &mut (impl AsyncRead + Unpin), tally: &Tally) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            count => tally.add_received(count),
        }
    }
}
