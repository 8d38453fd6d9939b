//! Counting: plain atomics per worker, summed when scraped.
//!
//! Every cell has one writer, the worker that owns it, so an increment is a load and a store and never a locked
//! instruction; readers may be a moment behind but never see a torn value. What is counted lives in [`stats`], the
//! words that label it in [`reason`]. Turning all of it into text belongs to `admin`.

pub mod reason;
pub mod stats;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

/// The index of a worker, dense from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub usize);

/// One `T` per worker, each on its own cache lines.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[CachePadded<T>]>);

impl<T: Default> PerWorker<T> {
    /// One default `T` for each of `workers`.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| CachePadded::new(T::default())).collect())
    }
}

impl<T> PerWorker<T> {
    /// The cell of `worker`, who alone may write to it.
    pub fn at(&self, worker: WorkerId) -> &T {
        &self.0[worker.0]
    }

    /// Every cell, in the order of the workers.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    /// The sum over all workers of what `read` sees.
    pub fn sum(&self, read: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(read).sum()
    }
}

/// A number with one writer and any number of readers; counts up, and as a gauge also down.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds; only the owning worker may call this.
    pub fn add(&self, amount: u64) {
        self.0.store(self.value().wrapping_add(amount), Ordering::Relaxed);
    }

    /// Subtracts; only the owning worker may call this.
    pub fn sub(&self, amount: u64) {
        self.0.store(self.value().wrapping_sub(amount), Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One cell for each value of a small enum.
#[derive(Debug)]
pub struct ByLabel<const N: usize>([Cell; N]);

impl<const N: usize> Default for ByLabel<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cell::default()))
    }
}

impl<const N: usize> ByLabel<N> {
    /// The cell of the label with this index.
    pub fn at(&self, index: usize) -> &Cell {
        &self.0[index]
    }
}

/// Number of finite buckets of every histogram.
pub const BUCKETS: usize = 14;

/// Upper bounds for connecting and first bytes: 50 us, a loopback connect, to 10 s, beyond any sane timeout.
pub const LATENCY_BOUNDS: [Duration; BUCKETS] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
];

/// Upper bounds for whole sessions: 1 ms, a health check, to a day, a replication stream.
pub const SESSION_BOUNDS: [Duration; BUCKETS] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(1_800),
    Duration::from_secs(7_200),
    Duration::from_secs(28_800),
    Duration::from_secs(86_400),
];

/// A distribution of durations over fixed bounds, with one writer.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration; BUCKETS],
    /// One a bound and a last one for what is above them all; not cumulative.
    counts: [Cell; BUCKETS + 1],
    sum_micros: Cell,
}

impl Histogram {
    /// An empty histogram over `bounds`, ascending.
    pub fn new(bounds: &'static [Duration; BUCKETS]) -> Self {
        Self { bounds, counts: std::array::from_fn(|_| Cell::default()), sum_micros: Cell::default() }
    }

    /// Counts one duration; only the owning worker may call this.
    pub fn observe(&self, duration: Duration) {
        let bucket = self.bounds.partition_point(|bound| *bound < duration);
        self.counts[bucket].add(1);
        self.sum_micros.add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The upper bounds, ascending.
    pub fn bounds(&self) -> &'static [Duration; BUCKETS] {
        self.bounds
    }

    /// The count of one bucket, not cumulative; the index [`BUCKETS`] is what is above every bound.
    pub fn count(&self, bucket: usize) -> u64 {
        self.counts[bucket].value()
    }

    /// The sum of all durations, in microseconds.
    pub fn sum_micros(&self) -> u64 {
        self.sum_micros.value()
    }
}

/// Upper bounds of [`BatchSizes`]: powers of two up to what a call that receives many datagrams is given room for, and
/// beyond, for each of those may be a train that the kernel has put together.
pub const BATCH_BOUNDS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2_048];

/// A distribution of the sizes of batches over [`BATCH_BOUNDS`], with one writer.
#[derive(Debug, Default)]
pub struct BatchSizes {
    /// One a bound and a last one for what is above them all; not cumulative.
    counts: [Cell; BATCH_BOUNDS.len() + 1],
    sum: Cell,
}

impl BatchSizes {
    /// Counts one batch of `size` datagrams; only the owning worker may call this.
    pub fn observe(&self, size: u64) {
        self.counts[BATCH_BOUNDS.partition_point(|bound| *bound < size)].add(1);
        self.sum.add(size);
    }

    /// The count of one bucket, not cumulative; the index after the last bound is what is above them all.
    pub fn count(&self, bucket: usize) -> u64 {
        self.counts[bucket].value()
    }

    /// Datagrams in all batches.
    pub fn sum(&self) -> u64 {
        self.sum.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_inclusive_and_the_rest_goes_above() {
        let histogram = Histogram::new(&LATENCY_BOUNDS);
        histogram.observe(Duration::from_micros(50));
        histogram.observe(Duration::from_micros(51));
        histogram.observe(Duration::from_secs(11));
        assert_eq!(histogram.count(0), 1);
        assert_eq!(histogram.count(1), 1);
        assert_eq!(histogram.count(BUCKETS), 1);
        assert_eq!(histogram.sum_micros(), 11_000_101);
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [&LATENCY_BOUNDS, &SESSION_BOUNDS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn batches_are_counted_up_to_their_bound() {
        let sizes = BatchSizes::default();
        [1, 32, 33, 2_048, 2_049].into_iter().for_each(|size| sizes.observe(size));
        let counts: Vec<u64> = (0..=BATCH_BOUNDS.len()).map(|bucket| sizes.count(bucket)).collect();
        assert_eq!(counts, [1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(sizes.sum(), 4_163);
    }

    #[test]
    fn cells_of_all_workers_are_summed() {
        let cells = PerWorker::<Cell>::new(3);
        for worker in 0..3 {
            cells.at(WorkerId(worker)).add(worker as u64 + 1);
        }
        cells.at(WorkerId(2)).sub(1);
        assert_eq!(cells.sum(Cell::value), 5);
    }
}
