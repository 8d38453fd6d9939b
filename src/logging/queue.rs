//! Records on their way out: a buffer for each thread that logs, and one thread that writes them all.
//!
//! A record is appended to the buffer of the thread that makes it: there is no queue that threads share, no system call,
//! and no wait but for the moment in which the log thread takes the buffer away. That happens on a clock, so that one write is
//! for all records that a thread has left meanwhile. Only the first record after a rest wakes the log thread, and is
//! written at once.
//!
//! Records of one thread stay in order; those of different threads may change places within one tick of the clock. What
//! does not fit in a buffer, or cannot be written, is dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use thread_local::ThreadLocal;

/// How long records gather after a write before the next: too short for a person to notice.
const TICK: Duration = Duration::from_millis(10);

/// Bytes that wait in the buffer of one thread: some ten times what a worker leaves between two writes.
const BUFFER_BYTES: usize = 1 << 20;

/// Memory that a buffer keeps for the next records.
const KEPT_BYTES: usize = 64 << 10;

/// How long the end of the process waits for a writer that is stuck.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Where records are left.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Each holds whole records, which end with a line end.
    buffers: ThreadLocal<Mutex<Vec<u8>>>,
    /// The log thread, once it runs.
    log_thread: OnceLock<Thread>,
    /// Whether the log thread sleeps until it is woken.
    is_resting: AtomicBool,
    is_ending: AtomicBool,
    dropped: Arc<AtomicU64>,
}

/// The log thread; dropping this writes what is left.
#[derive(Debug)]
pub(super) struct LogThread {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// Starts the thread that writes to `writer`.
///
/// # Errors
/// The thread could not be made.
pub(super) fn start(writer: impl Write + Send + 'static) -> io::Result<(Arc<Queue>, LogThread)> {
    let queue = Arc::<Queue>::default();
    let emptied = Arc::clone(&queue);
    let thread = thread::Builder::new().name("log".into()).spawn(move || emptied.empty_into(writer))?;
    Ok((Arc::clone(&queue), LogThread { queue, thread }))
}

impl Queue {
    /// Counts the records that were dropped since the start.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Leaves one record in the buffer of this thread.
    fn push(&self, record: &[u8]) {
        let mut buffer = lock(self.buffers.get_or_default());
        if buffer.len() + record.len() > BUFFER_BYTES {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        buffer.extend_from_slice(record);
        drop(buffer);
        // The log thread looks at every buffer once more after it has said that it rests. Of the two fences one is first:
        // either it finds this record, be it in a buffer that is new, or this finds it resting.
        fence(Ordering::SeqCst);
        if self.is_resting.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    fn wake(&self) {
        self.is_resting.store(false, Ordering::Release);
        if let Some(log_thread) = self.log_thread.get() {
            log_thread.unpark();
        }
    }

    /// The life of the log thread.
    fn empty_into(&self, writer: impl Write) {
        let _first = self.log_thread.set(thread::current());
        let (mut taken, mut writer) = (Vec::new(), Lines { writer, is_cut: false });
        loop {
            let is_ending = self.is_ending.load(Ordering::Acquire);
            let has_written = self.write_all_buffers(&mut taken, &mut writer);
            match (has_written, is_ending) {
                (true, false) => thread::park_timeout(TICK),
                (true, true) => {}
                (false, true) => return,
                (false, false) => self.rest(),
            }
        }
    }

    /// Writes what every thread has left; whether there was anything.
    fn write_all_buffers(&self, taken: &mut Vec<u8>, writer: &mut Lines<impl Write>) -> bool {
        let mut has_written = false;
        for buffer in self.buffers.iter() {
            std::mem::swap(&mut *lock(buffer), taken);
            if !taken.is_empty() {
                has_written = true;
                let lost = writer.write(taken);
                self.dropped.fetch_add(lost, Ordering::Relaxed);
            }
            taken.clear();
            taken.shrink_to(KEPT_BYTES);
        }
        has_written
    }

    /// Sleeps until there is a record.
    fn rest(&self) {
        self.is_resting.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_empty = self.buffers.iter().all(|buffer| lock(buffer).is_empty());
        while is_empty && self.is_resting.load(Ordering::Acquire) && !self.is_ending.load(Ordering::Acquire) {
            thread::park();
        }
        self.is_resting.store(false, Ordering::Release);
    }
}

/// Records are written here as they are formatted, each whole.
impl Write for &Queue {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.queue.is_ending.store(true, Ordering::Release);
        self.queue.wake();
        let deadline = Instant::now() + LAST_WRITE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Writes whole records.
struct Lines<W> {
    writer: W,
    /// Whether the last record was cut off within its line.
    is_cut: bool,
}

impl<W: Write> Lines<W> {
    /// Writes all `records`; how many of them could not be written, the one included that was cut off.
    fn write(&mut self, records: &[u8]) -> u64 {
        let mut rest = records;
        if self.is_cut {
            // What follows is not to become a part of the line that was cut off.
            self.is_cut = !self.try_write(b"\n").is_empty();
        }
        if !self.is_cut {
            rest = self.try_write(records);
            self.is_cut =
                !rest.is_empty() && rest.len() < records.len() && records[records.len() - rest.len() - 1] != b'\n';
        }
        rest.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// Writes as much as can be written; what is left.
    fn try_write<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A stderr that does not block has no room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(TICK),
                Ok(_) | Err(_) => break,
            }
        }
        rest
    }
}

/// Nothing under these locks can panic halfway, so a poisoned buffer is still whole.
fn lock(buffer: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Keeps what is written, one element a write.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Kept {
        fn text(&self) -> String {
            let writes = self.0.lock().expect("no test panics in a write");
            String::from_utf8(writes.concat()).expect("text")
        }

        fn writes(&self) -> usize {
            self.0.lock().expect("no test panics in a write").len()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics in a write").push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn records_of_a_thread_keep_their_order_and_share_writes() {
        const RECORDS: usize = 20_000;
        let kept = Kept::default();
        let (queue, log_thread) = start(kept.clone()).expect("a thread");
        thread::scope(|scope| {
            for name in ["a", "b"] {
                let queue = &queue;
                scope.spawn(move || {
                    (0..RECORDS).for_each(|number| queue.push(format!("{name} {number}\n").as_bytes()));
                });
            }
        });
        drop(log_thread);
        let text = kept.text();
        for name in ["a", "b"] {
            let own = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<usize>().ok());
            assert!(own.eq(0..RECORDS), "records of {name}");
        }
        assert!(kept.writes() < RECORDS / 10, "{} writes", kept.writes());
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_record_after_a_rest_is_written_by_itself() {
        let kept = Kept::default();
        let (queue, _log_thread) = start(kept.clone()).expect("a thread");
        for record in 1..=20 {
            queue.push(b"record\n");
            let deadline = Instant::now() + Duration::from_secs(10);
            while kept.text().lines().count() < record {
                assert!(Instant::now() < deadline, "record {record} was never written");
                thread::yield_now();
            }
            // Until the log thread rests, or before: both are to be met.
            let is_resting = || queue.is_resting.load(Ordering::Acquire);
            while record % 2 == 0 && !is_resting() {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn a_writer_that_is_stuck_costs_records_but_no_time() {
        /// Takes nothing until the other end is gone.
        struct Stuck(mpsc::Receiver<()>);

        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let released = self.0.recv();
                debug_assert!(released.is_err(), "nothing is ever sent");
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (release, stuck) = mpsc::channel();
        let (queue, log_thread) = start(Stuck(stuck)).expect("a thread");
        let record = [&[b'x'; 1023][..], b"\n"].concat();
        let fitting = BUFFER_BYTES / record.len();
        (0..2 * fitting + 100).for_each(|_| queue.push(&record));
        let dropped = queue.dropped().load(Ordering::Relaxed);
        // As much as a buffer holds may be in the hands of the writer.
        assert!((100..=100 + fitting as u64).contains(&dropped), "{dropped} of {fitting}");
        drop(release);
        drop(log_thread);
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        struct Gone;

        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let (queue, log_thread) = start(Gone).expect("a thread");
        (0..100).for_each(|_| queue.push(b"record\n"));
        drop(log_thread);
        assert_eq!(queue.dropped().load(Ordering::Relaxed), 100);
    }

    #[test]
    fn a_record_that_was_cut_off_spoils_no_other() {
        /// Has room for so many bytes, and later for more.
        struct Full<'a>(&'a mut Vec<u8>, usize);

        impl Write for Full<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = bytes.len().min(self.1);
                if room == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1 -= room;
                self.0.extend_from_slice(&bytes[..room]);
                Ok(room)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let mut written = Vec::new();
        let mut lines = Lines { writer: Full(&mut written, 8), is_cut: false };
        assert_eq!(lines.write(b"first\nsecond\nthird\n"), 2);
        assert_eq!(lines.write(b"lost\n"), 1);
        lines.writer.1 = 100;
        assert_eq!(lines.write(b"fourth\n"), 0);
        assert_eq!(written, b"first\nse\nfourth\n");
    }
}
