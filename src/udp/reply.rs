//! From backends to clients.

use std::ops::Range;

use super::Forwarder;
use super::flow::FlowId;
use super::forward::is_of_the_backend;
use super::post::Post;
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::sys::clock::Tick;
use crate::sys::udp::{self, Route};

/// A flow that gets so many datagrams at once, each by itself, has the kernel put trains together from then on. It takes a
/// system call, which others do without.
const MANY: usize = 4;

/// Errors of one socket that are read in one turn; each stands for at least one datagram that we sent.
const MOST_ERRORS: usize = 8;

/// What a turn leaves of a flow's socket.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Nothing; the kernel tells of what comes next.
    Nothing,
    /// Perhaps something, and no room for it.
    Something,
}

impl Forwarder {
    /// Receives what backends have sent, and sends it to the clients.
    pub(super) fn reply(&mut self, post: &mut Post) {
        post.receiver.clear();
        // Those that the kernel tells of now, and then those that had more than a turn's worth before.
        let mut left_over = std::mem::take(&mut self.unfinished);
        while let Some(token) = self.watch.take().or_else(|| left_over.pop()) {
            // The kernel will not tell again of what stays in a socket.
            if self.collect(FlowId::from_token(token), post) == Left::Something && !self.unfinished.contains(&token) {
                self.unfinished.push(token);
            }
            if post.receiver.is_full() {
                self.hand_out(post);
            }
        }
        self.hand_out(post);
    }

    /// Receives from the backend of one flow, until nothing is left or there is no room.
    fn collect(&mut self, flow: FlowId, post: &mut Post) -> Left {
        let worker = self.local.id;
        // A flow may have ended since the kernel told of it.
        let Some(held) = self.flows.held_mut(flow) else { return Left::Nothing };
        let link = &mut held.link;
        for _ in 0..MOST_ERRORS {
            match post.receiver.receive_connected(&link.socket) {
                Ok(received) => {
                    let count = received.slots.len();
                    if count > 0 {
                        link.answered(worker);
                        post.replies.push((flow, received.slots));
                    }
                    if count >= MANY && !link.coalesces {
                        link.coalesces = true;
                        // Without it they come one by one, as before.
                        let _ = udp::coalesce(&link.socket);
                    }
                    if received.is_drained {
                        return Left::Nothing;
                    }
                    if post.receiver.is_full() {
                        return Left::Something;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Left::Nothing,
                Err(error) => {
                    if is_of_the_backend(&error) {
                        link.refused(worker);
                    }
                }
            }
        }
        Left::Something
    }

    /// Sends all replies that were received, with as few system calls as they allow.
    fn hand_out(&mut self, post: &mut Post) {
        let now = Tick::now();
        let worker = self.local.id;
        let Post { receiver, sender, replies, finished, .. } = post;
        let mut batch = sender.batch();
        for (flow, slots) in replies.drain(..) {
            let (datagrams, bytes) = size(receiver, slots.clone());
            let Some(reply) = self.flows.replied(flow, datagrams, now.millis()) else { continue };
            if let Some(held) = self.flows.held_mut(flow) {
                held.bytes_down += bytes;
                let stats = held.link.backend.stats.at(worker);
                stats.datagrams_downstream.add(datagrams.into());
                stats.bytes_downstream.add(bytes);
            }
            let route = Route { destination: Some(reply.key.client), source: reply.key.destination };
            for train in receiver.datagrams(slots) {
                batch.push(route, train.segment_size, train.bytes);
            }
            if reply.is_last {
                finished.push(flow);
            }
        }
        let mut lost = 0;
        while batch.send(&self.socket).is_err() {
            lost += batch.skip() as u64;
        }
        self.dropped(DropReason::SendError, lost);
        for flow in finished.drain(..) {
            if let Some(ended) = self.flows.end(flow) {
                self.close(ended, FlowCloseReason::Finished);
            }
        }
        receiver.clear();
    }
}

/// How many datagrams lie in these slots, and how many bytes.
fn size(receiver: &udp::Receiver, slots: Range<usize>) -> (u32, u64) {
    receiver.datagrams(slots).fold((0, 0), |(datagrams, bytes), train| {
        (datagrams + u32::try_from(train.count()).unwrap_or(u32::MAX), bytes + train.bytes.len() as u64)
    })
}
