//! `[pools.NAME]`: backends, and how one of them is picked.

use std::num::NonZeroU16;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::Address;
use super::bounds;
use super::health::{HealthCheck, PassiveCheck};
use super::keys::Absent::{Required, Words};
use super::keys::Shape;
use super::list::List;
use super::number::Multiple;
use super::read::{At, Raw, Read, Reader};
use super::tables::tables;
use super::words::PolicyName;
use crate::config::types::{BackendAddr, BackendName, HashKey, OnDown};

const CONNECT_ATTEMPTS: NonZeroU16 = NonZeroU16::new(3).expect("3 is not 0");

tables! {
    /// Backends, how one of them is picked, and how their health is known.
    Pool, "in [pools.NAME]" {
        /// How a backend is picked.
        policy: PolicyName = PolicyName::LeastConnections,

        /// `maglev` only: what of the client is hashed. Clients of a unix listener have neither: all of them get the same
        /// backend.
        hash_key: HashKey = HashKey::SourceIp,

        /// `maglev` only: pass over a backend that has more than this multiple of its fair share, such as `1.25`. Without it
        /// a busy address is all on one backend.
        bounded_load: Multiple => Words("no bound"),

        /// Bound on one attempt to connect.
        connect_timeout: Duration [bounds::ATTEMPT] = Duration::from_secs(2),

        /// Different backends that are tried for one session.
        connect_attempts: NonZeroU16 = CONNECT_ATTEMPTS,

        /// Addresses, or tables with the keys of a backend.
        backends: List<Entry> => Required,

        /// How backends are probed; without it and `passive_check` every backend counts as up.
        health_check: HealthCheck => Words("no probes"),

        /// How backends are judged by what becomes of clients' datagrams; for pools of UDP listeners.
        passive_check: PassiveCheck => Words("off"),

        /// Sessions of a backend that goes down: `keep` them, or `close` them so that clients connect elsewhere.
        on_down: OnDown = OnDown::Keep,
    }

    /// One backend of a pool.
    Backend, "in an element of `backends`" {
        /// `"IP:PORT"`, `"[IPv6]:PORT"`, `"host:PORT"` or `"unix:/path"`. Host names are resolved at start and at each reload.
        address: Address => Required,

        /// What it is called in logs and metrics, and what `maglev` hashes: with a name, it may move to another address and
        /// keep its clients.
        name: BackendName => Words("the address"),

        /// Share of new sessions; 0 gives it none and lets the ones it has finish.
        weight: u16 = 1,

        /// Use it only while no other backend is up.
        backup: bool = false,
    }
}

/// An element of `backends`: a table, or only its address, which is short for a table with that one key.
#[derive(Debug)]
pub(crate) struct Entry(pub(crate) Backend);

impl Read for Entry {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        let span = raw.place.start..raw.place.end;
        match raw.value {
            DeValue::Table(table) => Some(Self(Backend::read_table(table, reader))),
            DeValue::String(_) => {
                let key = Spanned::new(span.clone(), "address".into());
                let table = DeTable::from_iter([(key, Spanned::new(span, raw.value.clone()))]);
                Some(Self(Backend::read_table(&table, reader)))
            }
            _ => reader.refuse_type(raw, "an address or a table", None),
        }
    }

    fn shape((): &()) -> Shape {
        Shape::Either(Box::new([Address::shape(&()), Backend::shape(&())]))
    }
}

impl Pool {
    /// Its backends that are unix sockets.
    pub(crate) fn unix_backends(&self) -> impl Iterator<Item = &At<Address>> {
        let entries = self.backends.given().into_iter().flat_map(|list| &list.value.0);
        let addresses = entries.filter_map(|At { value: Entry(backend), .. }| backend.address.given());
        addresses.filter(|address| matches!(address.value.addr, BackendAddr::Unix(_)))
    }
}
