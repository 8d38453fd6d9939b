//! Whether it is worth waiting a moment for the rest of a burst.
//!
//! A sender needs some microseconds for each datagram of a burst, and an idle worker is woken by the first. It then forwards
//! one or two, sleeps, and is woken again: a system call each way for every few datagrams, where one could take all of them.
//! So a worker that has found bursts lately, and has nothing else to do, lets the next one come before it looks.

use std::time::Duration;

/// What a burst of some 30 datagrams takes to come from one sender. Nothing else is served by this worker meanwhile: it is
/// short beside a turn, which takes up to 200 us, and is only taken while no other task of the worker has anything to do.
pub(super) const WAIT: Duration = Duration::from_micros(50);

/// Datagrams of one flow that one look finds, each in a piece of its own, from which on they count as a burst.
const BURST: usize = 3;

/// The weight of the past: what was found 16 looks ago hardly counts.
const MEMORY: usize = 4;

/// Detects whether datagrams come in bursts: how many pieces a look finds of each flow, on average over the last looks.
#[derive(Debug, Default)]
pub(super) struct BurstDetector {
    /// In sixteenths.
    pieces: usize,
}

impl BurstDetector {
    /// A look has found so many pieces of so many flows.
    pub(super) fn observe(&mut self, pieces: usize, flows: usize) {
        if let Some(each) = (16 * pieces).checked_div(flows) {
            self.pieces = (self.pieces * (MEMORY - 1) + each) / MEMORY;
        }
    }

    /// Whether what has come is likely to be the beginning of a burst.
    pub(super) fn expects_burst(&self) -> bool {
        self.pieces >= 16 * BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_noticed_soon_and_forgotten_soon() {
        let mut detector = BurstDetector::default();
        let mut looks_until = |pieces: usize, expects_burst: bool| {
            (0..).find(|_| {
                detector.observe(2 * pieces, 2);
                detector.expects_burst() == expects_burst
            })
        };
        assert_eq!(looks_until(8, true), Some(1));
        assert!((0..20).all(|_| looks_until(8, true) == Some(0)));
        assert_eq!(looks_until(1, false), Some(4));
    }

    #[test]
    fn many_flows_with_a_datagram_each_are_no_burst_and_a_look_at_nothing_says_nothing() {
        let mut detector = BurstDetector::default();
        for _ in 0..100 {
            detector.observe(64, 64);
            detector.observe(0, 0);
            assert!(!detector.expects_burst());
        }
    }
}
