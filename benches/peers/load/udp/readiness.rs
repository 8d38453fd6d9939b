//! Waiting for datagrams on many sockets at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Sockets that are watched for something to receive; each is told of as long as it has something.
pub(super) struct Readiness(OwnedFd);

impl Readiness {
    pub(super) fn of<F: AsFd>(sockets: impl IntoIterator<Item = F>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, socket) in (0..).zip(sockets) {
            epoll::add(&epoll, socket, epoll::EventData::new_u64(index), epoll::EventFlags::IN)?;
        }
        Ok(Self(epoll))
    }

    /// The indices of those that have something; none when nothing comes within `limit`, which is below a second.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<Vec<usize>> {
        let mut events = Vec::with_capacity(64);
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        epoll::wait(&self.0, spare_capacity(&mut events), Some(&limit))?;
        Ok(events.iter().filter_map(|event| usize::try_from(event.data.u64()).ok()).collect())
    }
}
