//! The side towards clients: the listener's socket of one worker.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::burst::BurstDetector;
use super::overruns::Overruns;
use super::settings::Settings;
use super::unsent::Unsent;
use crate::sys::udp::{Batch, Capabilities, Receiver};
use crate::sys::{readiness, udp};

/// Receives from clients and sends to them.
#[derive(Debug)]
pub(super) struct ClientSide {
    socket: AsyncFd<OwnedFd>,
    /// Whether clients may have sent something that was not received yet.
    is_readable: bool,
    overruns: Overruns,
    bursts: BurstDetector,
}

impl ClientSide {
    /// Takes a bound socket, which the current runtime watches.
    ///
    /// # Errors
    /// The kernel has no room for another watch.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: readiness::watch(socket, Interest::READABLE)?,
            is_readable: true,
            overruns: Overruns::default(),
            bursts: BurstDetector::default(),
        })
    }

    /// Whether clients may have sent something that was not received yet.
    pub(super) fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Notes whether something has come; if nothing has, the task is woken when something does.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) {
        // Cleared before anything is received: what comes meanwhile is reported again.
        if let Poll::Ready(Ok(mut guard)) = self.socket.poll_read_ready(cx) {
            guard.clear_ready();
            self.is_readable = true;
        }
    }

    /// Whether more is likely to follow at once what has come.
    pub(super) fn expects_burst(&self) -> bool {
        self.is_readable && self.bursts.expects_burst()
    }

    /// Receives what clients have sent, as far as one system call takes it; `None` when that failed.
    pub(super) fn receive(&mut self, receiver: &mut Receiver) -> Option<Range<usize>> {
        match receiver.receive(&self.socket) {
            Ok(received) => {
                self.is_readable = !received.is_drained;
                Some(received.slots)
            }
            Err(error) => {
                self.is_readable = error.kind() == io::ErrorKind::Interrupted;
                if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
                    tracing::debug!(%error, "receiving from clients failed");
                }
                None
            }
        }
    }

    /// How many datagrams were lost for want of room before the one that told this.
    pub(super) fn overruns_since(&mut self, told: Option<u32>) -> u64 {
        self.overruns.since(told).into()
    }

    /// Notes that so many pieces have come for so many flows.
    pub(super) fn observe_burst(&mut self, pieces: usize, flows: usize) {
        self.bursts.observe(pieces, flows);
    }

    /// Sends replies; returns those that could not be sent.
    pub(super) fn send(&self, batch: &mut Batch<'_, '_>) -> Unsent {
        let mut unsent = Unsent::default();
        while let Err(failure) = batch.send(&self.socket) {
            unsent.retry_or_skip(batch, &failure.error);
        }
        unsent
    }

    /// Gives the socket what the configuration asks for, as far as that differs from what it has.
    pub(super) fn apply(&self, settings: &Settings, before: Option<&Settings>, capabilities: Capabilities) {
        let wanted = settings.config.receive_buffer;
        // The socket was bound with the first one, and the log says what the kernel granted.
        if before.is_some_and(|before| before.config.receive_buffer != wanted) {
            match udp::set_buffers(&self.socket, wanted.get() as usize) {
                Ok(granted) => tracing::debug!(granted, asked = wanted, "the buffers of a socket have changed"),
                Err(error) => tracing::warn!(%error, "a socket keeps its buffers"),
            }
        }
        let takes_trains = settings.takes_trains();
        if before.map(Settings::takes_trains) != Some(takes_trains) && capabilities.coalesces() {
            // The kernel was asked at the start whether it can.
            let _ = if takes_trains { udp::coalesce(&self.socket) } else { udp::separate(&self.socket) };
        }
    }

    /// Makes new datagrams go to other sockets of the address. What is queued was sent before, and is received to the last one.
    pub(super) fn retire(&mut self) {
        if let Err(error) = udp::retire(self.socket.as_fd()) {
            tracing::debug!(%error, "a retired address still takes datagrams until it is closed");
        }
        self.is_readable = true;
    }
}
