//! UDP listeners: their own keys, and what TCP and UDP cannot have of each other.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use super::Lowering;
use super::address;
use super::listener::LONGEST_SILENCE;
use crate::config::error::{Place, Problem, quote};
use crate::config::file::{self, Entry, File};
use crate::config::read::{Amount, At, Field, Size};
use crate::config::types::{Assignment, OnBackendDown, Quota, Udp};

const DEFAULT_FLOW_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A burst of a few thousand small datagrams, for which the kernel accounts about 768 bytes each.
const DEFAULT_RECEIVE_BUFFER: NonZeroU32 = NonZeroU32::new(1 << 20).expect("1 MiB is not 0");

/// The largest datagram there is has 64 KiB, and must fit.
const LEAST_RECEIVE_BUFFER: u32 = 64 << 10;

/// SO_RCVBUF is a signed 32-bit number, of which the kernel books the double.
const LARGEST_RECEIVE_BUFFER: u32 = 1 << 30;

const ON_BACKEND_DOWN: &[(&str, OnBackendDown)] =
    &[("move", OnBackendDown::Move), ("stick", OnBackendDown::Stick), ("lame-duck", OnBackendDown::LameDuck)];

/// What to say to whom has a key of the other transport.
const NOT_OVER_TCP: &str = "leave it out, or set protocol = \"udp\"";

impl Lowering<'_> {
    /// The keys of a UDP listener. Its `max_flows` is 1 unless the file says, until the descriptors are shared out.
    pub(super) fn udp(&mut self, listener: &file::Listener) -> Udp {
        self.refuse_protocol(&listener.max_connections, "TCP", "`max_flows` bounds a UDP listener");
        self.refuse_protocol(&listener.idle_timeout, "TCP", "`flow_idle_timeout` is the key of a UDP listener");
        self.refuse_protocol(&listener.half_close_timeout, "TCP", "leave it out: a flow has no halves to close");
        for bind in listener.bind.given().into_iter().flat_map(|bind| &bind.value.0) {
            if bind.value.starts_with("unix:") {
                let message = format!("a UDP listener binds an IP address, and {} is a path", quote(&bind.value));
                self.problems.report(Problem::new(bind.place, message));
            }
        }
        let idle = self.duration(&listener.flow_idle_timeout, LONGEST_SILENCE, DEFAULT_FLOW_IDLE_TIMEOUT);
        Udp {
            flow_idle_timeout: idle,
            requests: self.quota(&listener.requests),
            responses: self.quota(&listener.responses),
            assignment: self.assignment(listener),
            max_flows: self.count(&listener.max_flows, u32::MAX, NonZeroU32::MIN),
            max_flows_per_source: self.given_count(&listener.max_flows_per_source, u32::MAX),
            on_backend_down: self.choice(&listener.on_backend_down, ON_BACKEND_DOWN, OnBackendDown::Move),
            receive_buffer: self.receive_buffer(&listener.receive_buffer),
        }
    }

    fn assignment(&mut self, listener: &file::Listener) -> Assignment {
        let Some(At { value: true, place }) = listener.per_packet.given() else { return Assignment::PerFlow };
        if let Some(given) = listener.on_backend_down.given() {
            let message = "`on_backend_down` says nothing beside `per_packet`";
            let help = "leave it out: every datagram goes to a backend that is up";
            let problem = Problem::new(given.place, message).related(*place, "no flow moves or stays");
            self.problems.report(problem.help(help));
        }
        Assignment::PerPacket
    }

    /// Reports the keys that a TCP listener cannot have.
    pub(super) fn refuse_udp_keys(&mut self, listener: &file::Listener) {
        let help = "`idle_timeout` is the key of a TCP listener";
        self.refuse_protocol(&listener.flow_idle_timeout, "UDP", help);
        self.refuse_protocol(&listener.max_flows, "UDP", "`max_connections` bounds a TCP listener");
        self.refuse_protocol(&listener.requests, "UDP", NOT_OVER_TCP);
        self.refuse_protocol(&listener.responses, "UDP", NOT_OVER_TCP);
        self.refuse_protocol(&listener.per_packet, "UDP", NOT_OVER_TCP);
        self.refuse_protocol(&listener.max_flows_per_source, "UDP", NOT_OVER_TCP);
        let help = "what becomes of TCP sessions is said by `on_down` of the pool";
        self.refuse_protocol(&listener.on_backend_down, "UDP", help);
        self.refuse_protocol(
            &listener.receive_buffer,
            "UDP",
            "leave it out: the kernel sizes the buffers of TCP itself",
        );
    }

    /// Reports every unix backend of a pool that a UDP listener sends to.
    pub(super) fn refuse_unix_backends(&mut self, file: &File) {
        for (pool_name, pool) in file.pools() {
            let sends_here = |(_, listener): &&(At<String>, file::Listener)| {
                is_udp(listener) && listener.pool.given().is_some_and(|pool| pool.value == pool_name.value)
            };
            let Some((name, listener)) = file.listeners().iter().filter(sends_here).min_by_key(|(name, _)| name.place)
            else {
                continue;
            };
            let related = listener.pool.given().map_or(name.place, |pool| pool.place);
            for (place, text) in unix_backends(pool) {
                let message = format!("UDP does not reach {}, and listener {} is UDP", quote(text), quote(&name.value));
                let help = "give the listener a pool of IP addresses";
                self.problems.report(Problem::new(place, message).related(related, "it sends here").help(help));
            }
        }
    }

    /// Reports every passive check of a pool that only TCP listeners send to. A pool that nobody sends to may wait for
    /// one.
    pub(super) fn refuse_passive_checks_without_datagrams(&mut self, file: &File) {
        let pools: HashSet<&str> = file.pools().iter().map(|(name, _)| &*name.value).collect();
        for (name, pool) in file.pools() {
            let Some(check) = pool.passive_check.given() else { continue };
            // A listener without a pool that there is may have been meant to send here.
            let may_send = |listener: &file::Listener| {
                pool_of(listener).is_none_or(|pool| pool == name.value || !pools.contains(pool))
            };
            if file.listeners().iter().any(|(_, listener)| may_be_udp(listener) && may_send(listener)) {
                continue;
            }
            let senders = file.listeners().iter().filter(|(_, listener)| pool_of(listener) == Some(&name.value));
            let Some((sender, _)) = senders.min_by_key(|(sender, _)| sender.place) else { continue };
            let message = format!(
                "no UDP listener sends to pool {}, and `passive_check` judges by datagrams",
                quote(&name.value)
            );
            let help = format!("a [pools.{}.health_check] judges by connections", name.value);
            let problem = Problem::new(check.place, message).related(sender.place, "it sends here over TCP");
            self.problems.report(problem.help(help));
        }
    }

    /// Reports a key that the listener's protocol does not have.
    fn refuse_protocol<T>(&mut self, field: &Field<T>, only: &str, help: &str) {
        if let Some(given) = field.given() {
            let message = format!("`{}` is for {only}", field.key);
            self.problems.report(Problem::new(given.place, message).help(help));
        }
    }

    fn quota(&mut self, field: &Field<Amount>) -> Quota {
        let Some(At { value: Amount::Limited(count), place }) = field.given() else { return Quota::Unlimited };
        if let Some(count) = u32::try_from(*count).ok().and_then(NonZeroU32::new) {
            return Quota::Exactly(count);
        }
        let message = format!("`{}` is out of range", field.key);
        let help = format!("`{}` is a number from 1 to {}, or \"unlimited\"", field.key, u32::MAX);
        self.problems.report(Problem::new(*place, message).help(help));
        Quota::Unlimited
    }

    fn receive_buffer(&mut self, field: &Field<Size>) -> NonZeroU32 {
        let Some(At { value: Size(bytes), place }) = field.given() else { return DEFAULT_RECEIVE_BUFFER };
        let bytes = u32::try_from(*bytes).ok();
        let bytes = bytes.filter(|bytes| (LEAST_RECEIVE_BUFFER..=LARGEST_RECEIVE_BUFFER).contains(bytes));
        if let Some(bytes) = bytes.and_then(NonZeroU32::new) {
            return bytes;
        }
        let message = format!("`{}` is out of range", field.key);
        let help = format!("`{}` is a size from 64KiB to 1GiB", field.key);
        self.problems.report(Problem::new(*place, message).help(help));
        DEFAULT_RECEIVE_BUFFER
    }
}

/// Whether the file says that this listener is one for UDP.
pub(super) fn is_udp(listener: &file::Listener) -> bool {
    listener.protocol.given().is_some_and(|protocol| protocol.value == "udp")
}

fn pool_of(listener: &file::Listener) -> Option<&str> {
    listener.pool.given().map(|pool| pool.value.as_str())
}

/// As [`is_udp`], or the file says something that cannot be understood.
fn may_be_udp(listener: &file::Listener) -> bool {
    listener.protocol.given().map_or(!listener.protocol.is_absent(), |protocol| protocol.value != "tcp")
}

/// The backends of a pool that are unix sockets, with the places of their addresses.
pub(super) fn unix_backends(pool: &file::Pool) -> impl Iterator<Item = (Place, &str)> {
    let entries = pool.backends.given().into_iter().flat_map(|list| &list.value.0);
    let addresses = entries.filter_map(|At { value: Entry(entry), .. }| entry.address.given());
    let is_unix = |text: &&At<String>| text.value.starts_with("unix:") && address::backend(&text.value).is_ok();
    addresses.filter(is_unix).map(|text| (text.place, text.value.as_str()))
}
