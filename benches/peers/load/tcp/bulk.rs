//! As many bytes as go through, one way or both. Either end of a connection may be the sender. Bytes are counted at both
//! ends and not compared: that would cost the load's CPU more than moving them, and exchanges compare every byte.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use rustix::net::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::clients::{connect, finish};
use super::tally::Tally;
use super::work::{BULK_PLEASE, Direction};

/// Bytes offered to one system call: large enough that clients and backends are not what is measured.
const CHUNK: usize = 256 << 10;

/// One client.
pub(super) async fn client(addr: SocketAddr, direction: Direction, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = connect(addr, None).await?;
    match direction {
        Direction::Upstream => send_only(&mut stream, &tally).await,
        Direction::Downstream => receive_only(&mut stream, &tally).await,
        Direction::BothWays => send_and_receive(&stream, &tally).await,
    }
}

/// One client of a backend that also serves exchanges.
pub(super) async fn asking_client(addr: SocketAddr, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = connect(addr, None).await?;
    stream.write_all(&[BULK_PLEASE]).await?;
    receive_only(&mut stream, &tally).await
}

/// The backend's end of what [`client`] does.
pub(super) async fn serve(stream: &mut TcpStream, direction: Direction, tally: &Tally) -> io::Result<()> {
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

async fn send_and_receive(stream: &TcpStream, tally: &Tally) -> io::Result<()> {
    let sending = async {
        send(stream, tally).await?;
        Ok(rustix::net::shutdown(stream, Shutdown::Write)?)
    };
    tokio::try_join!(sending, receive(stream, tally)).map(|_| ())
}

/// Writes until the load stops.
async fn send(stream: &TcpStream, tally: &Tally) -> io::Result<()> {
    let chunk = vec![0x5a; CHUNK];
    while !tally.is_stopping() {
        stream.writable().await?;
        if let Some(count) = in_turn(tally, || stream.try_write(&chunk)).await? {
            tally.add_sent(count);
        }
    }
    Ok(())
}

/// Reads to the end.
async fn receive(stream: &TcpStream, tally: &Tally) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        stream.readable().await?;
        match in_turn(tally, || stream.try_read(&mut chunk)).await? {
            Some(0) => return Ok(()),
            Some(count) => tally.add_received(count),
            None => {}
        }
    }
}

/// One chunk of all bulk transfers at a time, and between two of them whatever else is ready: small exchanges beside them
/// are to wait for the proxy, not for this process. `None`: there is nothing to move after all.
async fn in_turn(tally: &Tally, move_chunk: impl FnOnce() -> io::Result<usize>) -> io::Result<Option<usize>> {
    let _turn = tally.bulk_turn().await;
    let moved = match move_chunk() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        moved => moved?,
    };
    // The runtime looks for what has become ready before it resumes this, and the turn ends only then.
    yield_now().await;
    Ok(Some(moved))
}
