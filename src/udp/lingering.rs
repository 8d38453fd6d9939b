//! Lingering sockets: those towards backends that flows have moved away from.
//!
//! A backend that a reload takes away, or that a probe has just found to be down, may have answers under way. So the socket
//! of a flow that moves is kept for a moment, and what comes on it still goes to the client. Nothing is sent on it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::flow::FlowId;
use super::upstream_socket::UpstreamSocket;
use crate::sys::clock::Tick;

/// Longer than any answer takes, and the time that a flow may wait for one elsewhere.
const TIME: Duration = Duration::from_secs(1);

/// Sockets that linger for one address of one worker; a flow that moves beyond that closes its socket at once. They come on
/// top of `max_flows`, and are the first to go when descriptors or ports run out.
const MOST: usize = 256;

/// The lingering sockets of one address.
#[derive(Debug, Default)]
pub(super) struct LingeringSockets {
    /// By the token of the identity that the flow had with them.
    by_token: HashMap<u64, LingeringSocket>,
    /// Tokens in the order in which their time is over.
    deadlines: VecDeque<(Tick, u64)>,
}

/// A socket that a flow has moved away from.
#[derive(Debug)]
pub(super) struct LingeringSocket {
    pub(super) socket: UpstreamSocket,
    /// The flow as it is known since.
    pub(super) flow: FlowId,
}

impl LingeringSockets {
    /// Keeps the socket that a flow had when it was known as `left`, if there is room; now it is known as `flow`.
    pub(super) fn keep(&mut self, left: FlowId, flow: FlowId, socket: UpstreamSocket, now: Tick) {
        for lingering in self.by_token.values_mut().filter(|lingering| lingering.flow == left) {
            // It moves again.
            lingering.flow = flow;
        }
        if self.by_token.len() < MOST {
            self.by_token.insert(left.token(), LingeringSocket { socket, flow });
            self.deadlines.push_back((now.after(TIME), left.token()));
        }
    }

    /// The socket that is known by this token.
    pub(super) fn get_mut(&mut self, token: u64) -> Option<&mut LingeringSocket> {
        self.by_token.get_mut(&token)
    }

    /// The identity of a flow now, if it has moved a moment ago.
    pub(super) fn moved_to(&self, left: FlowId) -> Option<FlowId> {
        self.by_token.get(&left.token()).map(|lingering| lingering.flow)
    }

    /// When [`LingeringSockets::expire`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.deadlines.front().map(|(due, _)| *due)
    }

    /// Closes those whose time is over.
    pub(super) fn expire(&mut self, now: Tick) {
        while let Some((due, token)) = self.deadlines.front()
            && *due <= now
        {
            self.by_token.remove(token);
            self.deadlines.pop_front();
        }
    }

    /// Closes all; whether there were any.
    pub(super) fn clear(&mut self) -> bool {
        let had_some = !self.by_token.is_empty();
        self.by_token.clear();
        self.deadlines.clear();
        had_some
    }
}
