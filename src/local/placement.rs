//! Where sessions are: one count per worker, and the decision which worker gets the next one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;

use crate::metrics::WorkerId;

/// The number of sessions on each worker, readable by all.
#[derive(Debug)]
pub struct Board {
    counts: Box<[CachePadded<AtomicU32>]>,
    /// Held while a seat is chosen: two workers that accept at the same moment would both choose the emptier one.
    choosing: Mutex<()>,
}

/// A session's place on a worker; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    board: Arc<Board>,
    worker: WorkerId,
}

impl Board {
    /// A board of `workers` workers without sessions.
    pub fn new(workers: usize) -> Self {
        Self { counts: (0..workers).map(|_| CachePadded::default()).collect(), choosing: Mutex::new(()) }
    }

    /// A seat for a connection that `acceptor` accepted: with itself, unless another worker is clearly less busy.
    pub fn seat(self: &Arc<Self>, acceptor: WorkerId) -> Seat {
        let _choosing = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        self.seat_at(self.choose(acceptor))
    }

    /// A seat with this worker, whatever the others have.
    pub fn seat_at(self: &Arc<Self>, worker: WorkerId) -> Seat {
        self.counts[worker.0].fetch_add(1, Ordering::Relaxed);
        Seat { board: Arc::clone(self), worker }
    }

    /// The acceptor, or the least busy worker if the acceptor has an eighth more sessions than that, and at least one.
    ///
    /// The few sessions that matter most, long bulk transfers, are thus spread exactly; among thousands a handful more
    /// or less is not worth a hand-over each.
    fn choose(&self, acceptor: WorkerId) -> WorkerId {
        let own = self.count(acceptor);
        let (least, worker) =
            (0..self.counts.len()).map(|index| (self.count(WorkerId(index)), index)).min().unwrap_or((own, acceptor.0));
        if own > least + least / 8 { WorkerId(worker) } else { acceptor }
    }

    fn count(&self, worker: WorkerId) -> u32 {
        self.counts[worker.0].load(Ordering::Relaxed)
    }
}

impl Seat {
    /// The worker that the seat is with.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.counts[self.worker.0].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sessions_are_spread_exactly_whoever_accepts() {
        let board = Arc::new(Board::new(2));
        let seats: Vec<_> = (0..8).map(|_| board.seat(WorkerId(0))).collect();
        assert_eq!(board.count(WorkerId(0)), 4);
        assert_eq!(board.count(WorkerId(1)), 4);
        drop(seats);
        assert_eq!(board.count(WorkerId(0)) + board.count(WorkerId(1)), 0);
    }

    #[test]
    fn many_sessions_stay_where_they_were_accepted_until_an_eighth_too_many() {
        let board = Arc::new(Board::new(2));
        let _base: Vec<_> = (0..2)
            .flat_map(|worker| (0..80).map(move |_| worker))
            .map(|worker| board.seat_at(WorkerId(worker)))
            .collect();
        let seats: Vec<_> = (0..11).map(|_| board.seat(WorkerId(0))).collect();
        assert!(seats.iter().all(|seat| seat.worker() == WorkerId(0)));
        assert_eq!(board.seat(WorkerId(0)).worker(), WorkerId(1));
    }

    #[test]
    fn workers_that_accept_at_the_same_moment_do_not_choose_the_same_seat() {
        const ROUNDS: u32 = 2_000;
        let board = Arc::new(Board::new(2));
        let arrived = AtomicU32::new(0);
        // Spins, so that both leave it within nanoseconds.
        let together = |meeting: u32| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 * meeting {
                std::hint::spin_loop();
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        together(3 * round + 1);
                        let seat = board.seat(WorkerId(0));
                        together(3 * round + 2);
                        assert_eq!(board.count(WorkerId(0)), board.count(WorkerId(1)), "round {round}");
                        together(3 * round + 3);
                        drop(seat);
                    }
                });
            }
        });
    }

    #[test]
    fn a_lone_worker_keeps_everything() {
        let board = Arc::new(Board::new(1));
        assert_eq!(board.seat(WorkerId(0)).worker(), WorkerId(0));
        let _held = board.seat(WorkerId(0));
        assert_eq!(board.seat(WorkerId(0)).worker(), WorkerId(0));
    }
}
