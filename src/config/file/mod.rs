//! The file as it is written: every table with its keys, each value understood by itself and with its place.
//!
//! The tables declare their keys, one each: what it does, what its value looks like, within which bounds, and what holds
//! without it. All that is known of a single value is there, and the reader, the JSON Schema and the manual's tables
//! follow it. What several values mean together is `lower`'s business.
//!
//! A new key is a declaration here, and a line in `lower` that uses it.

mod address;
mod bounds;
mod health;
pub mod keys;
mod list;
mod listener;
mod log;
mod name;
mod number;
mod pool;
mod quantity;
mod read;
mod tables;
mod text;
mod units;
mod words;

use std::borrow::Cow;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::LazyLock;
use std::time::Duration;

use toml::de::DeTable;

pub(crate) use address::Endpoint;
pub(crate) use health::{HealthCheck, PassiveCheck};
pub(crate) use listener::Listener;
pub use log::{BadLogFilter, log_filter};
pub(crate) use name::PATTERN as NAME_PATTERN;
pub(crate) use pool::{Backend, Pool};
pub(crate) use read::{At, Field};
pub(crate) use units::Show;
pub(crate) use words::{PolicyName, ProbeType};

use address::{Loopback, UnixPath};
use keys::Absent::{Required, Words};
use list::Named;
use log::LogFilter;
use read::Reader;
use tables::tables;

use super::error::Problems;

tables! {
    /// A configuration of evenkeel: the process, its listeners and its pools.
    File, "at the top of the file" {
        /// Threads that move bytes. Fixed until the next start.
        workers: NonZeroUsize [bounds::WORKERS] => Words("one for each CPU that it may use"),

        /// Sessions of the whole process; over it a client is reset at once. Each session takes two descriptors, and a
        /// number that the limit cannot hold is an error that says which limit would do.
        max_connections: NonZeroU32 => Words("from the descriptor limit"),

        /// How long SIGTERM waits for sessions and flows to finish.
        shutdown_timeout: Duration [bounds::SHUTDOWN] = Duration::from_secs(30),

        /// How long a worker that has just moved something goes on asking for events before it sleeps: shorter answers for
        /// up to a CPU a worker while there is traffic; at rest it sleeps all the same. Fixed until the next start.
        busy_poll: Duration [bounds::BUSY_POLL] => Words("off"),

        /// `off`, `error`, `warn`, `info`, `debug` or `trace`, also by target: `"info,evenkeel::access=off"`.
        /// `EVENKEEL_LOG` in the environment goes before it, by the same rules.
        log: LogFilter = LogFilter(Cow::Borrowed("info")),

        /// Where the operator's interfaces listen.
        admin: Admin => Words("off"),

        /// Client-facing addresses, each `[listeners.NAME]`.
        listeners: Named<Listener> => Required,

        /// Groups of backends, each `[pools.NAME]`.
        pools: Named<Pool> => Required,
    }

    /// Where the operator's interfaces listen. Fixed until the next start.
    Admin, "in [admin]" {
        /// A unix socket that is reserved for administration; checked, not used yet.
        socket: UnixPath => Words("off"),

        /// Where `/metrics`, `/livez` and `/readyz` are, with a port that no wildcard listener has.
        http: Loopback => Words("off"),
    }
}

/// The table at the top of the file, with all others in it.
pub fn file_keys() -> &'static keys::Table {
    static FILE: LazyLock<keys::Table> = LazyLock::new(File::describe);
    &FILE
}

impl File {
    /// Reads the file; what is wrong with it goes to `problems`, and the rest is read nevertheless.
    pub(crate) fn read_document(document: &DeTable<'_>, problems: &mut Problems) -> Self {
        Self::read_table(document, &mut Reader { problems, file: file_keys() })
    }

    /// All listeners; the order means nothing.
    pub(crate) fn listeners(&self) -> &[(At<String>, Listener)] {
        self.listeners.given().map_or(&[], |listeners| &listeners.value.0)
    }

    /// All pools; the order means nothing.
    pub(crate) fn pools(&self) -> &[(At<String>, Pool)] {
        self.pools.given().map_or(&[], |pools| &pools.value.0)
    }
}
