//! A probe that connects.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::pool::backend::Endpoint;

/// What a backend may say to a probe before we stop listening; a greeting is far shorter.
const GREETING_LIMIT: u64 = 64 << 10;

/// How long a backend may take to answer our end with its own. A healthy one does at once; others must not keep the
/// probes of the rest waiting.
const FAREWELL: Duration = Duration::from_millis(200);

/// Connects within `limit`, and leaves in order.
pub(super) async fn connect(endpoint: &Endpoint, limit: Duration) -> io::Result<()> {
    match endpoint {
        Endpoint::Inet(addr) => {
            let stream = timeout(limit, TcpStream::connect(addr)).await??;
            leave(stream).await;
        }
        Endpoint::Unix(path) => {
            let stream = timeout(limit, UnixStream::connect(path)).await??;
            leave(stream).await;
        }
    }
    Ok(())
}

/// Ends the connection with a FIN, having read what the backend says first: closing with unread bytes would be a reset,
/// which databases log and count against our address. The backend has passed already, whatever happens here.
async fn leave(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let farewell = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(GREETING_LIMIT), &mut tokio::io::sink()).await
    };
    let _ = timeout(FAREWELL, farewell).await;
}
