//! From backends to clients.

use std::ops::Range;

use super::buffers::{Post, Replies};
use super::flow::FlowId;
use super::forward::Lost;
use super::upstream_socket::is_of_the_backend;
use super::{Forwarder, READY_FLOWS};
use crate::metrics::reason::{DropReason, FlowCloseReason};
use crate::sys::clock::Tick;
use crate::sys::udp::{self, Route};

/// A flow that gets so many datagrams at once, each by itself, has its socket made for more of them.
const MANY: usize = 4;

/// Errors of one socket that are read in one turn; each stands for at least one datagram that we sent.
const MOST_ERRORS: u32 = 8;

/// What a turn leaves of a flow's socket.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// Nothing; the kernel tells of what comes next.
    Nothing,
    /// Perhaps something, and no room for it.
    Something,
}

impl Forwarder {
    /// Receives what backends have sent, as much as there is room for, and sends it to the clients.
    pub(super) fn reply(&mut self, post: &mut Post) {
        post.receiver.clear();
        while self.ready.len() < READY_FLOWS
            && let Some(token) = self.epoll.take()
        {
            // One that was not emptied in its last turn is there already.
            if !self.ready.contains(&token) {
                self.ready.push_back(token);
            }
        }
        for _ in 0..self.ready.len() {
            if post.receiver.is_full() {
                break;
            }
            // The kernel will not tell again of what stays in a socket.
            if let Some(token) = self.ready.pop_front()
                && self.collect(token, post) == Left::Something
            {
                self.ready.push_back(token);
            }
        }
        let slots = post.replies.iter().map(|replies| replies.slots.len()).sum();
        self.downstream_pace.note(slots, post.replies.len());
        self.hand_out(post);
    }

    /// Receives from the backend that is known by this token, until nothing is left or there is no room.
    fn collect(&mut self, token: u64, post: &mut Post) -> Left {
        let worker = self.local.id;
        let flow = FlowId::from_token(token);
        let (flow, link) = match self.flows.get_mut(flow) {
            Some(held) => (flow, &mut held.link),
            None => match self.formers.get_mut(token) {
                Some(former) => (former.flow, &mut former.link),
                // It has ended since the kernel told of it.
                None => return Left::Nothing,
            },
        };
        let (mut errors, mut refusals, mut lost) = (0, 0, 0);
        let left = loop {
            match post.receiver.receive_connected(&link.socket) {
                Ok(received) => {
                    let slots = received.slots;
                    if !slots.is_empty() {
                        link.answered(worker);
                        lost += link.lost(post.receiver.at(slots.end - 1).overflow);
                        if slots.len() >= MANY
                            && let Some(terms) = &self.terms
                        {
                            link.widen(terms.config.receive_buffer);
                        }
                        let (datagrams, bytes) = size(&post.receiver, slots.clone());
                        let stats = link.backend.stats.at(worker);
                        stats.datagrams_downstream.add(datagrams.into());
                        stats.bytes_downstream.add(bytes);
                        post.replies.push(Replies { flow, slots, datagrams, bytes });
                    }
                    if received.is_drained {
                        break Left::Nothing;
                    }
                    if post.receiver.is_full() {
                        break Left::Something;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break Left::Nothing,
                Err(error) => {
                    errors += 1;
                    refusals += u32::from(is_of_the_backend(&error));
                    if errors == MOST_ERRORS {
                        break Left::Something;
                    }
                }
            }
        };
        // Said after what was received, which was sent before: the kernel tells of errors first.
        (0..refusals).for_each(|_| link.refused(worker));
        self.dropped(DropReason::ReceiveBufferOverrun, lost.into());
        left
    }

    /// Sends all replies that were received, with as few system calls as they allow.
    fn hand_out(&mut self, post: &mut Post) {
        let now = Tick::now();
        let Post { receiver, sender, replies, finished, .. } = post;
        let mut batch = sender.batch();
        for Replies { flow, slots, datagrams, bytes } in replies.drain(..) {
            let Some(reply) = self.flows.take_replies(flow, datagrams, now.millis()) else { continue };
            if let Some(held) = self.flows.get_mut(flow) {
                held.bytes_down += bytes;
            }
            // Nobody may send from an address that stands for a group.
            let source = reply.key.destination.filter(|ip| !ip.is_multicast());
            let route = Route { destination: Some(reply.key.client), source };
            for train in receiver.datagrams(slots) {
                batch.push(route, train.segment_size, train.bytes);
            }
            if reply.is_last {
                finished.push(flow);
            }
        }
        let mut lost = Lost::default();
        while let Err(refusal) = batch.send(&self.socket) {
            lost.give_way(&mut batch, &refusal.error);
        }
        lost.count(self);
        for flow in finished.drain(..) {
            self.end(flow, FlowCloseReason::Finished);
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
