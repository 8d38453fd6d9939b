//! One direction of a session: bytes from a source to a sink, in order, each exactly once.
//!
//! ```text
//!              three large reads                     end of the source
//!   +--------+ -----------------> +--------+        and nothing queued
//!   |  copy  |                    | splice |  ----------------------------> done (FIN sent)
//!   +--------+ <----------------- +--------+
//!           eight short moves, pipe empty
//! ```
//!
//! A pipe is held only while bytes are in it, so that an idle session owns none. A splice that moves nothing may have met
//! the end of the stream or a mark of urgent data; only a read can tell, so the copy tier has the last word.
//!
//! Nothing is read while anything is queued. That one rule gives back-pressure, keeps the order across a change of
//! tier, bounds the memory to one read, and makes EAGAIN from a splice into the (empty) pipe unambiguous.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use super::socket::Socket;
use crate::local::Local;
use crate::local::pipes::PooledPipe;

/// A read of this size or more is large: below it a copy costs less than two splices.
const LARGE: usize = 16 << 10;

/// Large reads in a row after which a pipe pays.
const LARGE_READS_TO_ATTACH: u8 = 3;

/// Short moves in a row after which the pipe is given back.
const SHORT_MOVES_TO_DETACH: u8 = 8;

/// Bytes moved for one direction before other sessions get their turn: 50 us of work at 5 GB/s. Also what is put into a
/// pipe at a time, and so what a receiver that stops reading holds back in the kernel's memory.
const BUDGET: usize = 256 << 10;

/// One direction of a session.
#[derive(Debug)]
pub(super) struct Direction {
    tier: Tier,
    /// Reads in a row that spoke for the other tier.
    streak: u8,
    end: StreamEnd,
    /// Bytes that the sink's kernel has taken.
    delivered: u64,
}

/// How bytes move, and what is queued between source and sink.
#[derive(Debug)]
enum Tier {
    /// Through the worker's scratch buffer; what the sink would not take is kept.
    Copy(Bytes),
    /// Through a pipe, without touching the bytes; there is one while bytes are in it.
    Splice(Option<PooledPipe>),
}

/// How far the end of the stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamEnd {
    /// More may come from the source.
    Open,
    /// The source has ended; what is queued is still to be delivered.
    Reached,
    /// All is delivered, and the sink has been told.
    PassedOn,
}

/// What a direction waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Bytes from the source, or its turn: a broken source is noticed by reading.
    ForSource,
    /// Room in the sink: the source is not being read.
    ForSink,
    /// Nothing: the source has ended and all is delivered.
    Nothing,
}

/// Which side of a direction broke.
#[derive(Debug)]
pub(super) enum Broken {
    /// Reading failed.
    Source(io::Error),
    /// Writing failed.
    Sink(io::Error),
}

impl Direction {
    pub(super) fn new() -> Self {
        Self { tier: Tier::Copy(Bytes::new()), streak: 0, end: StreamEnd::Open, delivered: 0 }
    }

    /// Bytes that the sink's kernel has taken.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Whether the source has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.end != StreamEnd::Open
    }

    /// Tells the sink that the source has ended, unless something is still to be delivered: FIN.
    pub(super) fn pass_on_end(&mut self, sink: &Socket) -> io::Result<()> {
        if self.end == StreamEnd::Reached && self.is_flushed() {
            self.tier = Tier::Copy(Bytes::new());
            sink.finish()?;
            self.end = StreamEnd::PassedOn;
        }
        Ok(())
    }

    fn is_flushed(&self) -> bool {
        match &self.tier {
            Tier::Copy(backlog) => backlog.is_empty(),
            Tier::Splice(pipe) => pipe.is_none(),
        }
    }

    /// Goes back to copying if nothing is queued; large reads will lead to splicing again.
    pub(super) fn prefer_copying(&mut self) {
        if let Tier::Splice(None) = self.tier {
            self.tier = Tier::Copy(Bytes::new());
            self.streak = 0;
        }
    }

    /// Moves what can be moved now; the task is woken when there is more to do.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
        sink: &Socket,
        local: &Local,
    ) -> Result<Waiting, Broken> {
        if self.end == StreamEnd::PassedOn {
            return Ok(Waiting::Nothing);
        }
        let mut budget = BUDGET;
        loop {
            if self.poll_flush(cx, sink).map_err(Broken::Sink)?.is_pending() {
                return Ok(Waiting::ForSink);
            }
            if self.end == StreamEnd::Reached {
                return Ok(Waiting::Nothing);
            }
            self.choose_tier(local);
            if budget == 0 {
                local.yield_turn(cx);
                return Ok(Waiting::ForSource);
            }
            let moved = match &mut self.tier {
                Tier::Copy(_) => self.poll_copy(cx, source, sink, local)?,
                Tier::Splice(_) => self.poll_splice(cx, source, local)?,
            };
            match moved {
                Poll::Pending => return Ok(Waiting::ForSource),
                Poll::Ready(0) if matches!(self.tier, Tier::Splice(_)) => self.prefer_copying(),
                Poll::Ready(0) => self.end = StreamEnd::Reached,
                Poll::Ready(moved) => {
                    budget = budget.saturating_sub(moved);
                    self.note(moved);
                }
            }
        }
    }

    /// Delivers what is queued; ready once nothing is.
    fn poll_flush(&mut self, cx: &mut Context<'_>, sink: &Socket) -> Poll<io::Result<()>> {
        match &mut self.tier {
            Tier::Copy(backlog) => {
                while !backlog.is_empty() {
                    let sent = ready!(sink.poll_transmit(cx, backlog))?;
                    backlog.advance(sent);
                    self.delivered += sent as u64;
                }
                *backlog = Bytes::new();
            }
            Tier::Splice(held) => {
                while let Some(pipe) = held {
                    self.delivered += ready!(sink.poll_drain(cx, pipe))? as u64;
                    if pipe.queued() == 0 {
                        *held = None;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes it out at once; what the sink does not take becomes the backlog.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
        sink: &Socket,
        local: &Local,
    ) -> Result<Poll<usize>, Broken> {
        let mut scratch = local.scratch.borrow_mut();
        let Poll::Ready(received) = source.poll_receive(cx, &mut scratch).map_err(Broken::Source)? else {
            return Ok(Poll::Pending);
        };
        let mut rest = &scratch[..received];
        while !rest.is_empty() {
            let Poll::Ready(sent) = sink.poll_transmit(cx, rest).map_err(Broken::Sink)? else {
                self.tier = Tier::Copy(Bytes::copy_from_slice(rest));
                break;
            };
            rest = &rest[sent..];
            self.delivered += sent as u64;
        }
        Ok(Poll::Ready(received))
    }

    /// Moves what the source holds into a pipe, or copies while there is no pipe to be had.
    fn poll_splice(&mut self, cx: &mut Context<'_>, source: &Socket, local: &Local) -> Result<Poll<usize>, Broken> {
        let Some(mut pipe) = local.take_pipe() else {
            self.prefer_copying();
            local.yield_turn(cx);
            return Ok(Poll::Pending);
        };
        let moved = source.poll_fill(cx, &mut pipe, BUDGET).map_err(Broken::Source)?;
        if let Poll::Ready(1..) = moved {
            self.tier = Tier::Splice(Some(pipe));
        }
        Ok(moved)
    }

    /// Counts the moves in a row that speak for the other tier.
    fn note(&mut self, moved: usize) {
        let is_large = moved >= LARGE;
        let speaks_for_other = match self.tier {
            Tier::Copy(_) => is_large,
            Tier::Splice(_) => !is_large,
        };
        self.streak = if speaks_for_other { self.streak.saturating_add(1) } else { 0 };
    }

    /// Changes the tier when the last moves say so. Nothing may be queued.
    fn choose_tier(&mut self, local: &Local) {
        match &self.tier {
            Tier::Copy(_) if self.streak >= LARGE_READS_TO_ATTACH && local.has_pipe() => {
                self.tier = Tier::Splice(None);
            }
            Tier::Splice(_) if self.streak >= SHORT_MOVES_TO_DETACH => self.tier = Tier::Copy(Bytes::new()),
            _ => return,
        }
        self.streak = 0;
    }
}
