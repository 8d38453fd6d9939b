//! `[listeners.NAME]`: where clients come in.

use std::num::NonZeroU32;
use std::time::Duration;

use super::address::Endpoint;
use super::bounds;
use super::keys::Absent::{Required, Words};
use super::list::List;
use super::quantity::Size;
use super::read::At;
use super::tables::tables;
use crate::config::types::{OnBackendDown, PoolName, Transport};

/// A burst of a few thousand small datagrams, for which the kernel accounts about 768 bytes each.
const RECEIVE_BUFFER: Size = Size(NonZeroU32::new(1 << 20).expect("1 MiB is not 0"));

tables! {
    /// Where clients come in.
    Listener, "in [listeners.NAME]" {
        /// `"IP:PORT"`, `"[IPv6]:PORT"` or, over TCP, `"unix:/path"`. An IPv6 address takes no IPv4 connections: name both.
        bind: List<Endpoint> => Required,

        /// What is spoken. A listener of each may bind the same address and port.
        protocol: Transport = Transport::Tcp,

        /// The `NAME` of a `[pools.NAME]`.
        pool: PoolName => Required,

        /// Sessions of this listener; over it a client is reset at once.
        max_connections: NonZeroU32 => Words("that of the process"),

        /// A session without a byte either way for this long is closed.
        idle_timeout: Duration [bounds::SILENCE] = Duration::from_secs(60 * 60),

        /// The same, once one side has ended its stream; never longer than `idle_timeout`.
        half_close_timeout: Duration [bounds::SILENCE] = Duration::from_secs(60),

        /// Whether each session or flow leaves a record in the log.
        access_log: bool = true,

        /// A flow without a datagram either way for this long ends.
        flow_idle_timeout: Duration [bounds::SILENCE] = Duration::from_secs(60),

        /// After this many datagrams of the client its next one begins a new flow, which is a new socket and a new pick.
        requests: Option<NonZeroU32> = None,

        /// A flow ends when each of its datagrams has had this many replies: 1 for DNS, so that a socket is free once
        /// nothing is owed.
        responses: Option<NonZeroU32> = None,

        /// Pick a backend for every datagram: for protocols such as DNS, in which each stands for itself. The client then
        /// has a flow with each backend, whose socket serves all its questions; with `requests = 1` each would take one of
        /// its own.
        per_packet: bool = false,

        /// Flows of this listener; each takes a descriptor and, of the whole machine, one of the UDP ports in
        /// `net.ipv4.ip_local_port_range`.
        max_flows: NonZeroU32 => Words("from the descriptor limit and the ports"),

        /// Flows of one client address.
        max_flows_per_source: NonZeroU32 => Words("no bound"),

        /// What becomes of the flows of a backend that is down, removed or refuses by ICMP. Not with `per_packet`.
        on_backend_down: OnBackendDown = OnBackendDown::Move,

        /// What the kernel is asked for each way: for the listening socket of each worker, and for sockets towards backends
        /// that get many datagrams at once. `net.core.rmem_max` and `wmem_max` bound it unless evenkeel has CAP_NET_ADMIN,
        /// as root has.
        receive_buffer: Size [bounds::RECEIVE_BUFFER] = RECEIVE_BUFFER,
    }
}

impl Listener {
    /// What it says it binds; the order is that of the file.
    pub(crate) fn bind(&self) -> &[At<Endpoint>] {
        self.bind.given().map_or(&[], |bind| &bind.value.0)
    }
}
