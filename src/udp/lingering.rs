//! What flows have left behind: sockets towards backends that they moved away from.
//!
//! A backend that a reload takes away, or that a probe has just found to be down, may have answers under way. So the socket
//! of a flow that moves is kept for a moment, and what comes on it still goes to the client. Nothing is sent on it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::flow::FlowId;
use super::upstream_socket::Link;
use crate::sys::clock::Tick;

/// Longer than any answer takes, and the time that a flow may wait for one elsewhere.
const PATIENCE: Duration = Duration::from_secs(1);

/// Sockets that are kept by one address of one worker; a flow that moves beyond that leaves nothing behind. They come on
/// top of `max_flows`, and are the first to go when descriptors or ports run out.
const MOST: usize = 256;

/// Sockets that flows have left.
#[derive(Debug, Default)]
pub(super) struct Formers {
    /// By the token of the identity that the flow had with them.
    links: HashMap<u64, Former>,
    /// Tokens in the order in which their time is over.
    order: VecDeque<(Tick, u64)>,
}

/// A socket that a flow has left.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) link: Link,
    /// The flow as it is known since.
    pub(super) flow: FlowId,
}

impl Formers {
    /// Keeps the socket that was `left`'s before it came to be `flow`, if there is room.
    pub(super) fn keep(&mut self, left: FlowId, flow: FlowId, link: Link, now: Tick) {
        for former in self.links.values_mut().filter(|former| former.flow == left) {
            // It moves again.
            former.flow = flow;
        }
        if self.links.len() < MOST {
            self.links.insert(left.token(), Former { link, flow });
            self.order.push_back((now.after(PATIENCE), left.token()));
        }
    }

    /// The socket that is known by this token.
    pub(super) fn get_mut(&mut self, token: u64) -> Option<&mut Former> {
        self.links.get_mut(&token)
    }

    /// When [`Formers::expire`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.order.front().map(|(due, _)| *due)
    }

    /// Closes those whose time is over.
    pub(super) fn expire(&mut self, now: Tick) {
        while let Some((due, token)) = self.order.front()
            && *due <= now
        {
            self.links.remove(token);
            self.order.pop_front();
        }
    }

    /// Closes all; whether there were any.
    pub(super) fn clear(&mut self) -> bool {
        let had_some = !self.links.is_empty();
        self.links.clear();
        self.order.clear();
        had_some
    }
}
