//! The kinds of work over UDP: plain descriptions.

use std::io;

use evenkeel::sys::udp::Capabilities;

use crate::outcome::Unit;

/// What clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Small datagrams on so many flows, so many of them at a time; the next is the one that has rested the longest.
    PingPong { flows: usize, at_once: usize },
    /// Trains of [`TRAIN`] on a few flows, each sent when the one before it is back or lost.
    Trains { bytes: usize, pieces: Pieces },
    /// One datagram and its reply on each of [`FLOWS`].
    NewFlows,
    /// `dnsperf`.
    Dns,
    /// [`FLOWS`] with one exchange each that then keep still.
    Idle,
}

/// How a train leaves and arrives at clients and backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// Many datagrams, one system call: sendmmsg and recvmmsg.
    Many,
    /// One piece that the kernel cuts up or has put together: UDP_SEGMENT and UDP_GRO.
    One,
}

/// Datagrams of a train.
pub(super) const TRAIN: usize = 32;
/// As many flows as fit the usual limit of 20,000 descriptors beside what else there is.
pub(super) const FLOWS: usize = 10_000;

impl Work {
    pub(crate) const fn unit(self) -> Unit {
        match self {
            Self::NewFlows => Unit::per_piece("CPU us/flow", "flows/s"),
            Self::Idle => Unit::new("KiB/flow", 2, "CPU us/s", 1),
            Self::PingPong { .. } | Self::Trains { .. } | Self::Dns => {
                Unit::per_piece("CPU us/datagram", "datagrams/s")
            }
        }
    }
}

impl Pieces {
    pub(super) fn capabilities(self) -> io::Result<Capabilities> {
        let all = Capabilities::probe()?;
        Ok(if self == Self::One { all } else { all.without_trains() })
    }
}
