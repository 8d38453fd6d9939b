//! Epoll: watching thousands of sockets through one registration with the runtime.
//!
//! A registration of its own costs each socket an allocation in the runtime and a wake-up of a task. Here the sockets are
//! in an epoll instance of their own that is itself a descriptor, readable while any of them is ready. The runtime watches that one,
//! and the sockets are told apart by numbers.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::readiness;

/// Sockets that are watched for something to receive, or for an error.
///
/// A socket is reported once for each arrival (edge-triggered): it is then to be read until nothing is left,
/// or remembers to. Closing a socket ends its watch.
pub struct Epoll {
    instance: AsyncFd<OwnedFd>,
    events: Vec<epoll::Event>,
    /// Whether the last look filled a batch, and may have left sockets behind.
    was_full: bool,
}

impl Epoll {
    /// Watches nothing yet, and reports at most `batch` sockets at a time; the current runtime wakes it.
    ///
    /// # Errors
    /// No descriptors left, or no room for another watch.
    pub fn new(batch: usize) -> io::Result<Self> {
        let instance = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let events = Vec::with_capacity(batch.max(1));
        Ok(Self { instance: readiness::watch(instance, Interest::READABLE)?, events, was_full: false })
    }

    /// Watches a socket and reports it by this number. What has arrived already is reported too.
    ///
    /// # Errors
    /// The kernel has no room for another watch (fs.epoll.max_user_watches).
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let interest = epoll::EventFlags::IN | epoll::EventFlags::ET;
        Ok(epoll::add(&self.instance, socket, epoll::EventData::new_u64(token), interest)?)
    }

    /// Looks which sockets are ready; there is at least one when this is, and at most a batch of them. They are then to be
    /// [taken](Self::take).
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        while self.events.is_empty() {
            let mut guard = ready!(self.instance.poll_read_ready(cx))?;
            epoll::wait(&self.instance, spare_capacity(&mut self.events), Some(&NOW))?;
            // The runtime is told of arrivals from now on; a full batch may have left some behind.
            self.was_full = self.events.len() == self.events.capacity();
            if !self.was_full {
                guard.clear_ready();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether sockets may be ready without anything having to arrive: some were not [taken](Self::take) yet, or did not fit.
    pub fn has_more(&self) -> bool {
        self.was_full || !self.events.is_empty()
    }

    /// The number of a socket that was found ready, each once.
    pub fn take(&mut self) -> Option<u64> {
        self.events.pop().map(|event| event.data.u64())
    }
}

impl fmt::Debug for Epoll {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Epoll").field("instance", &self.instance).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::poll_fn;
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    /// Generous: what is waited for has happened already, or happens in another task.
    const LIMIT: Duration = Duration::from_secs(10);

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.set_nonblocking(true).expect("nonblocking");
        socket
    }

    fn drain(socket: &UdpSocket) -> usize {
        std::iter::from_fn(|| socket.recv(&mut [0; 16]).ok()).count()
    }

    async fn ready(epoll: &mut Epoll) -> Vec<u64> {
        let ready = tokio::time::timeout(LIMIT, poll_fn(|cx| epoll.poll_ready(cx))).await;
        ready.expect("somebody is ready").expect("wait");
        std::iter::from_fn(|| epoll.take()).collect()
    }

    #[tokio::test]
    async fn every_socket_is_reported_although_a_batch_is_small() {
        let mut epoll = Epoll::new(7).expect("epoll");
        let sockets: Vec<_> = (0..100).map(|_| socket()).collect();
        for (token, socket) in (0..).zip(&sockets) {
            epoll.add(socket, token).expect("add");
        }
        let sender = socket();
        for round in 0..50 {
            for socket in &sockets {
                sender.send_to(b"x", socket.local_addr().expect("addr")).expect("send");
            }
            let mut reported = HashSet::new();
            while reported.len() < sockets.len() {
                let tokens = ready(&mut epoll).await;
                assert!((1..=7).contains(&tokens.len()));
                for token in tokens {
                    let socket = &sockets[usize::try_from(token).expect("a small number")];
                    assert_eq!(drain(socket), 1, "socket {token} in round {round}");
                    assert!(reported.insert(token), "socket {token} twice in round {round}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_not_drained_is_reported_with_the_next_arrival() {
        let mut epoll = Epoll::new(8).expect("epoll");
        let (receiver, sender) = (socket(), socket());
        let addr = receiver.local_addr().expect("addr");
        sender.send_to(b"before it is added", addr).expect("send");
        epoll.add(&receiver, u64::MAX).expect("add");
        assert_eq!(ready(&mut epoll).await, [u64::MAX]);
        let (later, tokens) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                sender.send_to(b"later", addr)
            },
            ready(&mut epoll),
        );
        later.expect("send");
        assert_eq!(tokens, [u64::MAX]);
        assert_eq!(drain(&receiver), 2);
    }

    #[tokio::test]
    async fn a_socket_that_was_closed_is_not_reported() {
        let mut epoll = Epoll::new(8).expect("epoll");
        let (closed, kept, sender) = (socket(), socket(), socket());
        for (token, socket) in [&closed, &kept].into_iter().enumerate() {
            epoll.add(socket, token as u64).expect("add");
            sender.send_to(b"x", socket.local_addr().expect("addr")).expect("send");
        }
        drop(closed);
        assert_eq!(ready(&mut epoll).await, [1]);
    }

    #[tokio::test]
    async fn an_error_is_reported_too() {
        let mut epoll = Epoll::new(8).expect("epoll");
        let nobody = socket().local_addr().expect("addr");
        let client = socket();
        client.connect(nobody).expect("connect");
        epoll.add(&client, 5).expect("add");
        client.send(b"x").expect("send");
        assert_eq!(ready(&mut epoll).await, [5]);
        assert_eq!(client.recv(&mut [0; 1]).expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    }
}
