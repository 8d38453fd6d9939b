//! Sending many datagrams with one system call, to one address or to many.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::message::{MAX_BYTES, MAX_SEGMENTS, Message, Route};
use super::probe::Capabilities;

/// Messages in one system call; the kernel itself takes 1,024 at most.
const MAX_MESSAGES: usize = 64;

/// A message that the kernel refused.
#[derive(Debug)]
pub struct SendFailure {
    /// Why: `WouldBlock` when there is no room now; on a connected socket perhaps what ICMP said about earlier datagrams.
    pub error: io::Error,
    /// Where it was to go.
    pub route: Route,
    /// How many datagrams [`Batch::skip`] would leave out.
    pub datagrams: usize,
}

/// Sends batches of datagrams. It keeps the memory of their headers, so that a batch allocates nothing in the long run.
///
/// A sender stays on its thread.
#[derive(Debug)]
pub struct Sender {
    segments: bool,
    batches: bool,
    messages: Vec<Message>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// The datagrams of a message that is sent one by one.
    singles: Vec<libc::iovec>,
}

impl Sender {
    /// A sender that uses what the kernel can do.
    pub fn new(capabilities: Capabilities) -> Self {
        Self {
            segments: capabilities.segments(),
            batches: capabilities.batches(),
            messages: Vec::new(),
            vectors: Vec::new(),
            headers: Vec::new(),
            singles: Vec::new(),
        }
    }

    /// Whether trains leave in one piece. It ends for good when a device turns out to be unable to cut them.
    pub fn segments(&self) -> bool {
        self.segments
    }

    /// Begins a batch.
    pub fn batch<'data>(&mut self) -> Batch<'_, 'data> {
        self.messages.clear();
        self.vectors.clear();
        Batch { sender: self, next: 0, split: None, taken: 0, bytes_taken: 0, bytes: PhantomData }
    }
}

/// Datagrams that are to be sent through one socket, in the order in which they were pushed.
///
/// Push them all, then [`send`](Self::send); whatever has not been sent when the batch ends is lost.
#[derive(Debug)]
pub struct Batch<'sender, 'data> {
    sender: &'sender mut Sender,
    /// The first message that was not taken whole.
    next: usize,
    /// How many datagrams of that message were dealt with, if it is sent one by one.
    split: Option<usize>,
    taken: usize,
    bytes_taken: usize,
    /// The vectors of the sender point to bytes that are borrowed for as long as the batch may use them.
    bytes: PhantomData<&'data [u8]>,
}

impl<'data> Batch<'_, 'data> {
    /// Adds a train of datagrams of `segment_size` bytes each, of which the last may be shorter. A single datagram is a
    /// train whose segments are as long as itself; it may be empty.
    pub fn push(&mut self, route: Route, segment_size: usize, bytes: &'data [u8]) {
        if bytes.len() <= segment_size || segment_size == 0 {
            return self.push_train(route, bytes.len(), bytes);
        }
        // A train that is received may be longer than one that may be sent.
        let most = (MAX_BYTES / segment_size).clamp(1, MAX_SEGMENTS);
        for train in bytes.chunks(segment_size * if self.sender.segments { most } else { 1 }) {
            self.push_train(route, segment_size.min(train.len()), train);
        }
    }

    /// How many datagrams the kernel has taken so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// How many bytes there were in those.
    pub fn bytes_taken(&self) -> usize {
        self.bytes_taken
    }

    /// Sends what has not been sent. After a refusal it can be called again, to try the refused message again, or to go on
    /// behind it if it was [skipped](Self::skip). Every datagram before the refused ones has been taken or skipped.
    ///
    /// # Errors
    /// The first message that the kernel refuses, or the part of it that was not taken.
    pub fn send(&mut self, socket: impl AsFd) -> Result<(), SendFailure> {
        while self.next < self.sender.messages.len() {
            let result = match self.split {
                None => self.send_messages(socket.as_fd()),
                Some(first) => self.send_singles(socket.as_fd(), first),
            };
            let Err(error) = result else { continue };
            if self.split.is_none() && self.is_of_the_segments(&error) {
                self.split = Some(0);
                continue;
            }
            let message = &self.sender.messages[self.next];
            return Err(SendFailure { error, route: message.route, datagrams: self.skippable() });
        }
        Ok(())
    }

    /// Leaves out the datagrams that were refused; returns how many.
    pub fn skip(&mut self) -> usize {
        let skipped = self.skippable();
        match self.split {
            Some(first) => self.go_on_one_by_one(first + skipped),
            None => self.next = self.sender.messages.len().min(self.next + 1),
        }
        skipped
    }

    /// Leaves out everything that was not sent; returns how many datagrams those are.
    pub fn abandon(&mut self) -> usize {
        let mut left = 0;
        while self.next < self.sender.messages.len() {
            left += self.skip();
        }
        left
    }

    fn skippable(&self) -> usize {
        match (self.split, self.sender.messages.get(self.next)) {
            (Some(_), _) => 1,
            (None, message) => message.map_or(0, |message| message.datagrams),
        }
    }

    /// Adds datagrams that fit into one message, if possible to the last one.
    fn push_train(&mut self, route: Route, segment_size: usize, bytes: &'data [u8]) {
        let datagrams = bytes.len().div_ceil(segment_size.max(1)).max(1);
        let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let sender = &mut *self.sender;
        sender.vectors.push(vector);
        let end = sender.vectors.len();
        if sender.segments
            && let Some(last) = sender.messages.last_mut()
            && last.route == route
            && last.has_room_for(segment_size, bytes.len(), datagrams)
        {
            return last.extend(bytes.len(), datagrams);
        }
        sender.messages.push(Message::new(route, segment_size, bytes.len(), datagrams, end - 1..end));
    }

    /// Whether a message was refused because it is to be cut: by a device that cannot (EIO), on a path whose packets are
    /// shorter than the segments (EINVAL, EMSGSIZE). Sent one by one, its datagrams may pass.
    fn is_of_the_segments(&mut self, error: &io::Error) -> bool {
        let errno = Errno::from_io_error(error);
        if self.sender.messages[self.next].datagrams == 1 {
            return false;
        }
        if errno == Some(Errno::IO) {
            self.sender.segments = false;
        }
        matches!(errno, Some(Errno::IO | Errno::INVAL | Errno::MSGSIZE))
    }

    /// One system call for the next messages.
    fn send_messages(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Sender { batches, messages, vectors, headers, .. } = &mut *self.sender;
        let end = messages.len().min(self.next + MAX_MESSAGES);
        headers.clear();
        headers.extend(messages[self.next..end].iter_mut().map(|message| {
            let vectors = &mut vectors[message.vectors.clone()];
            message.header(vectors)
        }));
        let count = transmit(socket, headers, *batches)?;
        let taken = &self.sender.messages[self.next..self.next + count];
        self.taken += taken.iter().map(|message| message.datagrams).sum::<usize>();
        self.bytes_taken += taken.iter().map(|message| message.bytes).sum::<usize>();
        self.next += count;
        Ok(())
    }

    /// One system call for the datagrams of the next message, from `first` on.
    fn send_singles(&mut self, socket: BorrowedFd<'_>, first: usize) -> io::Result<()> {
        let Sender { batches, messages, vectors, headers, singles, .. } = &mut *self.sender;
        let message = &mut messages[self.next];
        singles.clear();
        for train in &vectors[message.vectors.clone()] {
            let starts = (0..train.iov_len).step_by(message.segment_size);
            singles.extend(starts.map(|start| libc::iovec {
                iov_base: train.iov_base.wrapping_byte_add(start),
                iov_len: message.segment_size.min(train.iov_len - start),
            }));
        }
        headers.clear();
        for single in singles[first..].iter_mut() {
            let header = message.header_of_one(single);
            headers.push(header);
        }
        let count = transmit(socket, headers, *batches)?;
        self.taken += count;
        self.bytes_taken += singles[first..first + count].iter().map(|single| single.iov_len).sum::<usize>();
        self.go_on_one_by_one(first + count);
        Ok(())
    }

    fn go_on_one_by_one(&mut self, first: usize) {
        let is_whole = first >= self.sender.messages[self.next].datagrams;
        self.split = (!is_whole).then_some(first);
        self.next += usize::from(is_whole);
    }
}

/// Sends messages; returns how many of them, at least one, were taken.
#[expect(unsafe_code, reason = "sendmmsg has no safe wrapper")]
fn transmit(socket: BorrowedFd<'_>, headers: &mut [libc::mmsghdr], batches: bool) -> io::Result<usize> {
    if let ([first, ..], false) | ([first], true) = (&mut *headers, batches) {
        return transmit_one(socket, first);
    }
    let length = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
    // SAFETY: `headers` is `length` long. `Message` made each a moment ago, from memory of the sender that nobody
    // has touched since and that is as long as the header says; the bytes that the vectors point to are borrowed by the
    // batch ('data). The kernel reads them, and writes the lengths in the headers. The descriptor is open while borrowed.
    let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), length, libc::MSG_DONTWAIT as _) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[expect(unsafe_code, reason = "sendmsg of rustix knows neither IP_PKTINFO nor UDP_SEGMENT")]
fn transmit_one(socket: BorrowedFd<'_>, header: &libc::mmsghdr) -> io::Result<usize> {
    // SAFETY: as for sendmmsg, for one header, which is only read.
    let length = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header.msg_hdr, libc::MSG_DONTWAIT) };
    if length < 0 { Err(io::Error::last_os_error()) } else { Ok(1) }
}
