//! A socket towards a backend, and which backend that is.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use crate::balance::{Lease, PendingAnswer};
use crate::metrics::WorkerId;
use crate::pool::backend::{BackendState, Endpoint};
use crate::pool::view::{BackendView, PoolView};
use crate::sys::clock::Tick;
use crate::sys::socket::is_out_of_descriptors;
use crate::sys::udp;

/// A socket that is connected to a backend.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: OwnedFd,
    pub(super) backend: Arc<BackendState>,
    addr: SocketAddr,
    /// The generation of the configuration that was last seen to have the backend at this address.
    confirmed: u64,
    /// Whether its machine refused a datagram and none has come from it since.
    pub(super) is_refused: bool,
    /// Whether it is made for many datagrams at once.
    is_wide: bool,
    /// How many datagrams the kernel has dropped for want of room so far, as it counts them.
    overrun: u32,
    /// The wait for the first reply, and when the first datagram went out; `None` once there was a reply. Dropped without
    /// one, it says nothing: a client that asks what nobody answers is no sign of a slow backend.
    pending: Option<(PendingAnswer, Instant)>,
    _lease: Lease,
}

impl Link {
    /// A socket to this backend.
    ///
    /// # Errors
    /// What the kernel says about it.
    pub(super) fn to(backend: &BackendView, generation: u64, worker: WorkerId) -> io::Result<Self> {
        // The configuration lets no UDP listener send to a pool with unix sockets in it.
        let Endpoint::Inet(addr) = backend.endpoint else { return Err(io::ErrorKind::Unsupported.into()) };
        let socket = udp::connect(addr, None)?;
        backend.state.stats.at(worker).flows.add(1);
        Ok(Self {
            socket,
            backend: Arc::clone(&backend.state),
            addr,
            confirmed: generation,
            is_refused: false,
            is_wide: false,
            overrun: 0,
            pending: Some((backend.state.load.ask(), Instant::now())),
            _lease: backend.state.load.lease(),
        })
    }

    /// Whether the pool has the backend, at this address. In another pool than before it is known by another name to those
    /// who judge its health and count its flows.
    pub(super) fn is_current(&mut self, pool: &PoolView, generation: u64) -> bool {
        if self.confirmed != generation
            && let Some(view) = pool.find(&self.backend.key.backend, &Endpoint::Inet(self.addr))
        {
            self.confirmed = generation;
            self.belong_to(&view.state);
        }
        self.confirmed == generation
    }

    fn belong_to(&mut self, state: &Arc<BackendState>) {
        if !Arc::ptr_eq(&self.backend, state) {
            // A wait that is begun under one name and ended under another says nothing of either.
            self.pending = None;
            self.backend = Arc::clone(state);
            self._lease = state.load.lease();
        }
    }

    /// The backend has sent something; the first time says how long it takes to answer.
    pub(super) fn answered(&mut self, worker: WorkerId) {
        self.is_refused = false;
        self.backend.note_answer();
        if let Some((pending, asked_at)) = self.pending.take() {
            let took = asked_at.elapsed();
            pending.answered(took, Tick::now().millis());
            self.backend.stats.at(worker).first_byte.observe(took);
        }
    }

    /// ICMP says that the machine of the backend refused a datagram, or cannot be reached.
    pub(super) fn refused(&mut self, worker: WorkerId) {
        let stats = self.backend.stats.at(worker);
        stats.icmp_errors.add(1);
        stats.refused_flows.add(u64::from(!self.is_refused));
        self.is_refused = true;
        self.backend.note_refusal(Tick::now().millis());
    }

    /// Makes room for many datagrams at once, and has the kernel put trains of them together. It takes a few system calls,
    /// which most flows are better off without.
    pub(super) fn widen(&mut self, bytes: NonZeroU32) {
        if !std::mem::replace(&mut self.is_wide, true) {
            // What the kernel does not grant is done without.
            let _ = udp::set_buffers(&self.socket, bytes.get() as usize);
            let _ = udp::tell_overflow(&self.socket);
            let _ = udp::coalesce(&self.socket);
        }
    }

    /// Datagrams that the kernel had no room for since it last said.
    pub(super) fn lost(&mut self, overrun: Option<u32>) -> u32 {
        let before = self.overrun;
        self.overrun = overrun.unwrap_or(before);
        self.overrun.wrapping_sub(before)
    }
}

/// Whether an error of a connected socket is what ICMP said about datagrams sent before. What a firewall of this machine
/// refuses (EPERM) says nothing about the backend.
pub(super) fn is_of_the_backend(error: &io::Error) -> bool {
    let said = [
        Errno::CONNREFUSED,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::NOPROTOOPT,
        // "Administratively prohibited", of ICMPv6.
        Errno::ACCESS,
    ];
    Errno::from_io_error(error).is_some_and(|errno| said.contains(&errno))
}

/// Whether a datagram was not sent because too many others are on their way out.
pub(super) fn is_crowded(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || Errno::from_io_error(error) == Some(Errno::NOBUFS)
}

/// Whether a socket could not be connected for want of something of ours: descriptors, memory, or ports (`WouldBlock`). An
/// address to send from that is missing (EADDRNOTAVAIL) is no such thing: there may be one for another backend.
pub(super) fn is_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, WouldBlock};
    matches!(error.kind(), OutOfMemory | WouldBlock) || is_out_of_descriptors(error)
}
