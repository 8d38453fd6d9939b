//! The mirror of the TOML file: every table with its keys, as written, each value with its place.
//!
//! A new key is one line here and one in [`lower`](super::lower).

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problems;
use super::read::{Amount, At, Field, List, Named, Raw, Read, Reader, Size, tables};

tables! {
    /// The whole file.
    File, "at the top of the file" {
        workers: i64,
        max_connections: i64,
        shutdown_timeout: Duration,
        busy_poll: Duration,
        log: String,
        admin: Admin,
        listeners: Named<Listener>,
        pools: Named<Pool>,
    }

    Admin, "in [admin]" {
        socket: String,
        http: String,
    }

    Listener, "in [listeners.NAME]" {
        bind: List<String>,
        protocol: String,
        pool: String,
        max_connections: i64,
        idle_timeout: Duration,
        half_close_timeout: Duration,
        access_log: bool,
        flow_idle_timeout: Duration,
        requests: Amount,
        responses: Amount,
        per_packet: bool,
        max_flows: i64,
        max_flows_per_source: i64,
        on_backend_down: String,
        receive_buffer: Size,
    }

    Pool, "in [pools.NAME]" {
        policy: String,
        hash_key: String,
        bounded_load: f64,
        connect_timeout: Duration,
        connect_attempts: i64,
        backends: List<Entry>,
        health_check: HealthCheck,
        passive_check: PassiveCheck,
        on_down: String,
    }

    HealthCheck, "in [pools.NAME.health_check]" {
        kind as "type": String,
        port: i64,
        interval: Duration,
        timeout: Duration,
        rise: i64,
        fall: i64,
        send: String,
        send_hex: String,
        expect: String,
        expect_hex: String,
        query: String,
        record: String,
        rcode: String,
    }

    PassiveCheck, "in [pools.NAME.passive_check]" {
        unanswered: i64,
        flows: i64,
        window: Duration,
        eject_for: Duration,
        eject_for_at_most: Duration,
        max_ejected: f64,
    }

    Backend, "in an element of `backends`" {
        address: String,
        name: String,
        weight: i64,
        backup: bool,
    }
}

/// An element of `backends`: a table, or only its address, which is short for a table with that one key.
#[derive(Debug)]
pub(super) struct Entry(pub(super) Backend);

impl Read for Entry {
    const SHAPE: &'static str = "an address or a table";

    fn read(raw: Raw<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let span = raw.place.start..raw.place.end;
        match raw.value {
            DeValue::Table(table) => Some(Self(Backend::read_table(table, reader))),
            DeValue::String(_) => {
                let key = Spanned::new(span.clone(), "address".into());
                let table = DeTable::from_iter([(key, Spanned::new(span, raw.value.clone()))]);
                Some(Self(Backend::read_table(&table, reader)))
            }
            _ => reader.refuse_type(raw),
        }
    }
}

impl File {
    /// Reads the file; what is wrong with it goes to `problems`, and the rest is read nevertheless.
    pub(super) fn read_document(document: &DeTable<'_>, problems: &mut Problems) -> Self {
        Self::read_table(document, &mut Reader { problems, tables: TABLES })
    }

    /// All listeners; the order means nothing.
    pub(super) fn listeners(&self) -> &[(At<String>, Listener)] {
        self.listeners.given().map_or(&[], |listeners| &listeners.value.0)
    }

    /// All pools; the order means nothing.
    pub(super) fn pools(&self) -> &[(At<String>, Pool)] {
        self.pools.given().map_or(&[], |pools| &pools.value.0)
    }
}
