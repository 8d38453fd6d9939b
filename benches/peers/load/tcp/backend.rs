//! Simulated backends: on the loads' thread and CPU, doing as little as the case allows.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::bulk;
use super::tally::Tally;
use super::work::{BULK_PLEASE, Direction, Service, Work};

/// Longer than any burst of connections that a load makes.
const BACKLOG: u32 = 4096;

/// Listening backends; they stop accepting when this is dropped.
pub(super) struct Backends {
    pub(super) addrs: Vec<SocketAddr>,
    _accepting: JoinSet<()>,
}

impl Backends {
    /// Listens on as many ports of 127.0.0.1 as the work takes.
    ///
    /// # Errors
    /// As the kernel gives them.
    pub(super) fn start(work: Work, tally: &Rc<Tally>) -> io::Result<Self> {
        let mut addrs = Vec::with_capacity(work.backends());
        let mut accepting = JoinSet::new();
        for index in 0..work.backends() {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
            let listener = socket.listen(BACKLOG)?;
            addrs.push(listener.local_addr()?);
            accepting.spawn_local(accept(listener, work.service(index), Rc::clone(tally)));
        }
        Ok(Self { addrs, _accepting: accepting })
    }
}

async fn accept(listener: TcpListener, service: Service, tally: Rc<Tally>) {
    loop {
        match listener.accept().await {
            // Not joined: a connection ends with its proxy at the latest, and the tally knows how many are open.
            Ok((stream, _)) => drop(tokio::task::spawn_local(serve(stream, service, Rc::clone(&tally)))),
            Err(error) => return tally.backend_failed(format!("accept: {error}")),
        }
    }
}

async fn serve(mut stream: TcpStream, service: Service, tally: Rc<Tally>) {
    let _open = tally.open();
    let served = match service {
        Service::Echo { bytes } => echo(&mut stream, bytes, None).await,
        Service::EchoAfter { bytes, pause } => echo(&mut stream, bytes, Some(pause)).await,
        Service::Bulk(direction) => bulk::serve(&mut stream, direction, &tally).await,
        Service::EchoOrBulk { bytes } => echo_or_bulk(&mut stream, bytes, &tally).await,
    };
    if let Err(error) = served {
        tally.backend_failed(error.to_string());
    }
}

async fn echo_or_bulk(stream: &mut TcpStream, bytes: usize, tally: &Tally) -> io::Result<()> {
    let mut first = [0; 1];
    if stream.peek(&mut first).await? == 1 && first == [BULK_PLEASE] {
        stream.read_exact(&mut first).await?;
        return bulk::serve(stream, Direction::Downstream, tally).await;
    }
    echo(stream, bytes, None).await
}

async fn echo(stream: &mut TcpStream, bytes: usize, pause: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut request = vec![0; bytes];
    loop {
        // A connection may end between requests, never within one.
        let first = match stream.read(&mut request).await {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) => return Err(error),
        };
        stream.read_exact(&mut request[first..]).await?;
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        stream.write_all(&request).await?;
    }
}
