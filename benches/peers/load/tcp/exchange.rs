//! Request and reply on a connection that stays.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::clients::{connect, finish};
use super::tally::Tally;

/// One client: connects, exchanges until the load stops, closes in order.
pub(super) async fn repeat(addr: SocketAddr, bytes: usize, tally: Rc<Tally>) -> io::Result<()> {
    let mut stream = connect(addr, None).await?;
    let mut exchange = Exchange::new(bytes);
    while !tally.is_stopping() {
        let start = Instant::now();
        exchange.once(&mut stream).await?;
        tally.complete(start.elapsed());
    }
    finish(&mut stream).await
}

/// A request unlike any other, and room for its reply.
pub(super) struct Exchange {
    request: Vec<u8>,
    reply: Vec<u8>,
    number: u64,
}

impl Exchange {
    /// `bytes` is the size each way, at least 8: every request carries its number.
    pub(super) fn new(bytes: usize) -> Self {
        let mut request = vec![0; bytes];
        fastrand::fill(&mut request);
        Self { request, reply: vec![0; bytes], number: 0 }
    }

    /// Sends the next request and checks its reply byte for byte.
    pub(super) async fn once(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.number += 1;
        self.request[..8].copy_from_slice(&self.number.to_le_bytes());
        stream.write_all(&self.request).await?;
        stream.read_exact(&mut self.reply).await?;
        if self.reply == self.request { Ok(()) } else { Err(io::Error::other("a reply that is not its request")) }
    }
}
