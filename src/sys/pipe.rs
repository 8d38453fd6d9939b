//! Pipes for splicing, and moving bytes between a socket and a pipe without copying them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

/// What is asked of the kernel for one pipe: its default ceiling for users without privileges.
const WANTED_CAPACITY: usize = 1 << 20;

/// A pipe shorter than this moves less at a time than a copy would. The kernel hands out one-page pipes to a user who
/// owns more than 16,384 pipe pages.
const USEFUL_CAPACITY: usize = 64 << 10;

/// Without SPLICE_F_MORE: it would hold back the last segment of interactive traffic for 200 ms.
const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A pipe that knows how many bytes are in it. The kernel does not say: EAGAIN from a splice into a pipe means that the
/// pipe is full or that the socket is empty.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
    queued: usize,
}

impl Pipe {
    /// A pipe as large as the kernel grants.
    ///
    /// # Errors
    /// No descriptors left, or only a pipe that is too short to be of use.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let capacity = match fcntl_setpipe_size(&writer, WANTED_CAPACITY) {
            Ok(granted) => granted,
            Err(_) => fcntl_getpipe_size(&writer)?,
        };
        if capacity < USEFUL_CAPACITY {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self { reader, writer, capacity, queued: 0 })
    }

    /// Bytes in the pipe.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Moves what `source` holds, at most `limit` bytes, into the pipe; 0 means end of stream.
    ///
    /// The pipe must be empty, so that EAGAIN can only mean an empty socket.
    ///
    /// # Errors
    /// What the source's recv would say; `WouldBlock` when it is empty.
    pub fn fill(&mut self, source: impl AsFd, limit: usize) -> io::Result<usize> {
        debug_assert_eq!(self.queued, 0, "only an empty pipe is filled");
        let moved = splice(source, None, &self.writer, None, self.capacity.min(limit), FLAGS)?;
        self.queued = moved;
        Ok(moved)
    }

    /// Moves bytes out of the pipe into `sink`; returns how many.
    ///
    /// # Errors
    /// What the sink's send would say; `WouldBlock` when it takes nothing.
    pub fn drain(&mut self, sink: impl AsFd) -> io::Result<usize> {
        let moved = splice(&self.reader, None, sink, None, self.queued, FLAGS)?;
        self.queued -= moved;
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_pass_in_order_and_the_count_is_kept() {
        let (mut client, source) = UnixStream::pair().expect("socket pair");
        let (sink, mut backend) = UnixStream::pair().expect("socket pair");
        source.set_nonblocking(true).expect("nonblocking");
        let mut pipe = Pipe::new().expect("pipe");

        let empty = pipe.fill(&source, usize::MAX).expect_err("nothing was sent");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);

        client.write_all(b"hello").expect("write");
        assert_eq!(pipe.fill(&source, usize::MAX).expect("fill"), 5);
        assert_eq!(pipe.queued(), 5);
        assert_eq!(pipe.drain(&sink).expect("drain"), 5);
        assert_eq!(pipe.queued(), 0);
        let mut received = [0; 5];
        backend.read_exact(&mut received).expect("read");
        assert_eq!(&received, b"hello");

        drop(client);
        assert_eq!(pipe.fill(&source, usize::MAX).expect("end of stream"), 0);
    }
}
