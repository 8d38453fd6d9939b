//! A connected stream socket inside the runtime.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::sys::pipe::Pipe;
use crate::sys::socket::Accepted;
use crate::sys::tcp_info::{self, Answer};
use crate::sys::{readiness, socket};

/// One side of a session, TCP or unix.
///
/// Dropping it resets the connection unless [`Socket::close_in_order`] was called before: whatever goes wrong, a panic
/// included, nobody at the other end of TCP mistakes it for an orderly end. Unix sockets know no reset.
#[derive(Debug)]
pub struct Socket {
    fd: AsyncFd<OwnedFd>,
    /// The read readiness is used up while bytes may be waiting, so that no event will tell of them.
    unread: Cell<bool>,
    /// Cleared once both streams have ended.
    resets: Cell<bool>,
    delay: Cell<Delay>,
}

/// Whether the kernel may hold small segments of ours back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delay {
    /// No: TCP_NODELAY is set.
    Never,
    /// Nothing was sent yet, so there is nothing that a first segment would wait for.
    FromSecond,
    /// From now on, unless that is changed.
    Now,
}

/// A first message of this size is one segment on every path: the least that TCP assumes (RFC 9293, 3.7.1). A longer one
/// may be several, the last of which would wait for the others.
const ONE_SEGMENT: usize = 536;

impl Socket {
    /// Registers a non-blocking socket that was accepted with the current worker's runtime.
    ///
    /// # Errors
    /// The kernel has no room for another watch; the connection is reset then.
    pub fn accepted(fd: Accepted) -> io::Result<Self> {
        Self::new(fd.into_socket(), Delay::Never)
    }

    /// As [`Socket::accepted`], for one that is being connected. Most short sessions send one small message, which is sent
    /// at once anyway, and are spared the system call that sets TCP_NODELAY.
    ///
    /// # Errors
    /// As there.
    pub fn connecting(fd: OwnedFd) -> io::Result<Self> {
        Self::new(fd, Delay::FromSecond)
    }

    fn new(fd: OwnedFd, delay: Delay) -> io::Result<Self> {
        let watched = readiness::try_watch(fd, Interest::READABLE | Interest::WRITABLE);
        let fd = watched.map_err(|(error, fd)| {
            socket::reset_on_close(&fd);
            error
        })?;
        Ok(Self { fd, unread: Cell::new(false), resets: Cell::new(true), delay: Cell::new(delay) })
    }

    /// Reads into `buffer`; 0 is the end of the stream.
    ///
    /// A read that does not fill the buffer has emptied the socket, so the next poll waits for an event instead of
    /// asking the kernel again. The runtime remembers that the peer has closed, so the end is not missed.
    pub fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        self.poll_read_with(cx, |received| received > 0 && received < room, |fd| socket::receive(fd, buffer))
    }

    /// Moves up to `limit` received bytes into an empty pipe; 0 is the end of the stream.
    pub fn poll_fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe, limit: usize) -> Poll<io::Result<usize>> {
        // A splice ends early when the pipe runs out of slots, so a short one says nothing about the socket.
        self.poll_read_with(cx, |_| false, |fd| pipe.fill(fd, limit))
    }

    /// Reads once the socket is readable; `emptied` says whether a read of that many bytes has emptied it.
    fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        emptied: impl Fn(usize) -> bool,
        mut read: impl FnMut(&OwnedFd) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let announced = match self.fd.poll_read_ready(cx) {
                Poll::Ready(guard) => Some(guard?),
                // The waker is registered (or the task's turn is over, and it is woken at once): what arrives from here on
                // is announced, what arrived before may not be.
                Poll::Pending if self.unread.get() => None,
                Poll::Pending => return Poll::Pending,
            };
            let is_announced = announced.is_some();
            match read(self.fd.get_ref()) {
                Ok(received) => {
                    if emptied(received) {
                        self.used_up(announced);
                    }
                    return Poll::Ready(Ok(received));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.used_up(announced);
                    if !is_announced {
                        return Poll::Pending;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Nothing is left to read until the next event.
    fn used_up(&self, announced: Option<AsyncFdReadyGuard<'_, OwnedFd>>) {
        if let Some(mut guard) = announced {
            guard.clear_ready();
        }
        self.unread.set(false);
    }

    /// Sends what fits of `bytes`.
    pub fn poll_transmit(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.send_at_once(bytes.len());
        self.poll_write_with(cx, |fd| socket::transmit(fd, bytes))
    }

    /// Sends what fits of the bytes in a pipe.
    pub fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        self.send_at_once(pipe.queued());
        self.poll_write_with(cx, |fd| pipe.drain(fd))
    }

    /// Makes sure that nothing of the next `length` bytes waits for other segments.
    fn send_at_once(&self, length: usize) {
        match self.delay.get() {
            Delay::Never => {}
            Delay::FromSecond if length <= ONE_SEGMENT => self.delay.set(Delay::Now),
            Delay::FromSecond | Delay::Now => {
                self.delay.set(Delay::Never);
                socket::send_at_once(self.fd.get_ref());
            }
        }
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&OwnedFd) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(cx))?;
            match write(self.fd.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Ends our stream to the peer: FIN.
    ///
    /// # Errors
    /// The peer has reset the connection.
    pub fn finish(&self) -> io::Result<()> {
        socket::finish(self.fd.get_ref())
    }

    /// Lets the drop close the connection in order. Both streams must have ended.
    pub fn close_in_order(&self) {
        self.resets.set(false);
    }

    /// Waits for a connection under way to be established.
    ///
    /// # Errors
    /// It failed.
    pub async fn established(&self) -> io::Result<()> {
        let guard = self.fd.writable().await?;
        // A failed connection is closed for writing at once; only then is asking the kernel worth a system call.
        if !guard.ready().is_write_closed() {
            return Ok(());
        }
        socket::take_error(self.fd.get_ref()).map_or(Ok(()), Err)
    }

    /// Waits for the connection to break: reset by the peer, or the peer lost. Returns what happened.
    ///
    /// For the times when nothing is read, as reading reports it too, and in order.
    pub async fn broken(&self) -> io::Error {
        if let Err(error) = self.fd.ready(Interest::ERROR).await {
            return error;
        }
        socket::take_error(self.fd.get_ref()).unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Makes the next read ask the kernel, whatever its events said.
    pub fn suspect_unread(&self) {
        self.unread.set(true);
    }

    /// The next byte that will be read, or `None` at the end of the stream; nothing is taken from it.
    ///
    /// # Errors
    /// Whatever reading would say; `WouldBlock` when nothing has arrived.
    pub fn next_byte(&self) -> io::Result<Option<u8>> {
        socket::peek(self.fd.get_ref())
    }

    /// Makes the kernel probe the peer while the connection is silent.
    pub fn keep_alive(&self) {
        socket::keep_alive(self.fd.get_ref());
    }

    /// Whether the peer still answers what we send it.
    pub fn answer(&self) -> Answer {
        tcp_info::answer(self.fd.get_ref())
    }

    /// Waits for a peer that has not been answered yet to leave: it reset the connection, or it ended its stream
    /// without having sent a byte, `grace` ago. A peer that has sent something and then ended its stream waits for an
    /// answer. Nothing is read.
    pub async fn left(&self, grace: Duration) {
        loop {
            let Ok(mut guard) = self.fd.readable().await else { return };
            if guard.ready().is_read_closed() {
                break;
            }
            self.unread.set(true);
            guard.clear_ready();
        }
        match self.next_byte() {
            Ok(None) => tokio::time::sleep(grace).await,
            Ok(Some(_)) => drop(self.broken().await),
            Err(_) => {}
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.resets.get() {
            socket::reset_on_close(self.fd.get_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;

    /// Whether TCP_NODELAY is set before each of these messages is sent.
    async fn no_delay(messages: &[usize]) -> Vec<bool> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let fd = socket::connect_tcp(listener.local_addr().expect("addr")).expect("connect");
        let socket = Socket::connecting(fd).expect("register");
        socket.established().await.expect("established");
        let mut set = Vec::new();
        for length in messages {
            let message = vec![0; *length];
            let sent = poll_fn(|cx| {
                let sent = socket.poll_transmit(cx, &message);
                set.push(SockRef::from(socket.fd.get_ref()).tcp_nodelay().expect("TCP"));
                sent
            });
            assert_eq!(sent.await.expect("sent"), *length);
        }
        set
    }

    #[tokio::test]
    async fn only_a_first_message_of_one_segment_is_sent_without_setting_no_delay() {
        assert_eq!(no_delay(&[1, 1, 1]).await, [false, true, true]);
        assert_eq!(no_delay(&[ONE_SEGMENT, 1]).await, [false, true]);
        assert_eq!(no_delay(&[ONE_SEGMENT + 1]).await, [true]);
    }
}
