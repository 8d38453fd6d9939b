//! A probe that connects.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Failure, within};
use crate::pool::backend::Endpoint;
use crate::sys::socket;

/// What a backend may say to a probe before we stop listening; a greeting is far shorter.
const GREETING_LIMIT: u64 = 64 << 10;

/// How long a backend may take to answer our end with its own. A healthy one does at once; others must not keep the
/// probes of the rest waiting.
const LEAVING: Duration = Duration::from_millis(200);

/// Connects within `limit`, and leaves in order.
pub(super) async fn connect(endpoint: &Endpoint, limit: Duration) -> Result<(), Failure> {
    match endpoint {
        Endpoint::Inet(addr) => leave(within(limit, connect_inet(*addr)).await?).await,
        Endpoint::Unix(path) => leave(connect_unix(path).map_err(Failure::Unsent)?).await,
    }
    Ok(())
}

async fn connect_inet(addr: SocketAddr) -> Result<TcpStream, Failure> {
    let begin = || -> io::Result<TcpStream> {
        let socket = socket::connect_tcp(addr)?;
        TcpStream::from_std(socket.into())
    };
    let stream = begin().map_err(Failure::Unsent)?;
    stream.writable().await.map_err(Failure::Unanswered)?;
    match socket::take_error(&stream) {
        Some(error) => Err(Failure::Unanswered(error)),
        // Nobody listens on a port that the kernel lends to clients, and it has just lent it to us.
        None if stream.local_addr().is_ok_and(|own| own == addr) => {
            Err(Failure::Unanswered(io::ErrorKind::ConnectionRefused.into()))
        }
        None => Ok(stream),
    }
}

/// The kernel connects at once, or says that the backend's queue is full.
fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    UnixStream::from_std(socket::connect_unix(path)?.into())
}

/// Ends the connection with a FIN, having read what the backend says first: closing with unread bytes would be a reset,
/// which databases log and count against our address. The backend has passed already, whatever happens here.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let end = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(GREETING_LIMIT), &mut tokio::io::sink()).await
    };
    let _ = timeout(LEAVING, end).await;
}
