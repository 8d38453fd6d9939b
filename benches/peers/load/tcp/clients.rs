//! What all kinds of clients share: they run beside each other, connect, and come to an orderly end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::outcome::Failure;

/// Bound on how long clients may take to finish what they began when the load stops.
const WIND_DOWN: Duration = Duration::from_secs(10);

/// Clients that must come to an end by themselves.
#[derive(Default)]
pub(super) struct Clients(JoinSet<io::Result<()>>);

impl Clients {
    /// Adds one.
    pub(super) fn add(&mut self, client: impl Future<Output = io::Result<()>> + 'static) {
        self.0.spawn_local(client);
    }

    /// Adds as many as that.
    pub(super) fn add_each<F>(&mut self, count: usize, client: impl Fn() -> F)
    where
        F: Future<Output = io::Result<()>> + 'static,
    {
        for _ in 0..count {
            self.add(client());
        }
    }

    /// Ends when a client does, and says how. Never if there is none.
    pub(super) async fn first_end(&mut self) -> Failure {
        match self.0.join_next().await {
            Some(ended) => client_failed(flatten(ended)),
            None => std::future::pending().await,
        }
    }

    /// Waits for all of them to end.
    ///
    /// # Errors
    /// One of them failed, or takes too long.
    pub(super) async fn wind_down(&mut self) -> Result<(), Failure> {
        let ended = async {
            while let Some(ended) = self.0.join_next().await {
                let ended = flatten(ended);
                if ended.is_err() {
                    return Err(client_failed(ended));
                }
            }
            Ok(())
        };
        timeout(WIND_DOWN, ended).await.map_err(|_| Failure::Load(format!("clients stuck for {WIND_DOWN:?}")))?
    }
}

fn flatten(joined: Result<io::Result<()>, JoinError>) -> io::Result<()> {
    joined.map_err(io::Error::other).flatten()
}

fn client_failed(ended: io::Result<()>) -> Failure {
    Failure::Load(match ended {
        Ok(()) => "a client ended before the load did".into(),
        Err(error) => format!("a client saw: {error}"),
    })
}

/// Connects from `source`, or from wherever the kernel likes.
pub(super) async fn connect(addr: SocketAddr, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(source)?;
    }
    let stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends the client's side first and expects nothing but the other side's end.
pub(super) async fn finish(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    match stream.read(&mut [0; 1]).await? {
        0 => Ok(()),
        _ => Err(io::Error::other("bytes after the last reply")),
    }
}
