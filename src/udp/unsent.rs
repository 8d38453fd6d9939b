//! Datagrams that the kernel would not send.

use std::io;

use super::errors::is_crowded;
use crate::sys::udp::Batch;

/// What a batch leaves out, and how it goes on after a failure.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    for_want_of_room: usize,
    for_errors: usize,
    /// How far the batch had come when it last failed.
    failed_at: Option<usize>,
}

impl Unsent {
    /// Makes a batch that failed go on. What a socket fails with may be about an earlier datagram and is said only once, so
    /// the one at hand is tried again; it is left out when it fails once more, and with it all others if there is no room.
    pub(super) fn retry_or_skip(&mut self, batch: &mut Batch<'_, '_>, error: &io::Error) {
        let progress = batch.taken() + self.datagrams();
        if is_crowded(error) {
            self.for_want_of_room += batch.abandon();
        } else if self.failed_at.replace(progress) == Some(progress) {
            self.for_errors += batch.skip();
        }
    }

    /// How many they are.
    pub(super) fn datagrams(&self) -> usize {
        self.for_want_of_room + self.for_errors
    }

    /// Those that found no room in the kernel's buffers.
    pub(super) fn for_want_of_room(&self) -> usize {
        self.for_want_of_room
    }

    /// Those that the kernel refused for any other reason.
    pub(super) fn for_errors(&self) -> usize {
        self.for_errors
    }
}
