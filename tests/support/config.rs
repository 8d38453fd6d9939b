//! Configuration files of tests.

use std::fmt::{Display, Write};

/// The text of a configuration, one table after another; the keys of each are given as TOML.
///
/// The balancer's own admin address is added when it starts.
#[derive(Debug, Clone, Default)]
pub struct Config {
    top: String,
    tables: String,
}

impl Config {
    /// Two workers, so that what workers share and hand over is in play on every machine.
    pub fn new() -> Self {
        Self { top: "workers = 2\n".to_owned(), tables: String::new() }
    }

    /// Adds keys at the top level, one a line.
    pub fn top(mut self, keys: &str) -> Self {
        self.top.push_str(keys);
        self.top.push('\n');
        self
    }

    /// Adds a TCP listener that sends to `pool`, with further `keys`.
    pub fn listener(self, name: &str, bind: impl Display, pool: &str, keys: &str) -> Self {
        self.listener_on(name, &[bind], pool, keys)
    }

    /// As [`Config::listener`], for several addresses.
    pub fn listener_on(mut self, name: &str, bind: &[impl Display], pool: &str, keys: &str) -> Self {
        let bind = quoted(bind);
        self.table(&format!("[listeners.{name}]\nbind = [{bind}]\nprotocol = \"tcp\"\npool = \"{pool}\"\n{keys}"));
        self
    }

    /// Adds a UDP listener that sends to `pool`, with further `keys`.
    pub fn udp_listener(self, name: &str, bind: impl Display, pool: &str, keys: &str) -> Self {
        self.udp_listener_on(name, &[bind], pool, keys)
    }

    /// As [`Config::udp_listener`], for several addresses.
    pub fn udp_listener_on(mut self, name: &str, bind: &[impl Display], pool: &str, keys: &str) -> Self {
        let bind = quoted(bind);
        self.table(&format!("[listeners.{name}]\nbind = [{bind}]\nprotocol = \"udp\"\npool = \"{pool}\"\n{keys}"));
        self
    }

    /// Adds a pool of `backends` without weights, with further `keys`.
    pub fn pool(self, name: &str, backends: &[impl Display], keys: &str) -> Self {
        let backends = quoted(backends);
        self.pool_of(name, &backends, keys)
    }

    /// Adds a pool whose `backends` are written as the elements of a TOML array.
    pub fn pool_of(mut self, name: &str, backends: &str, keys: &str) -> Self {
        self.table(&format!("[pools.{name}]\nbackends = [{backends}]\n{keys}"));
        self
    }

    /// Adds a TCP check to `pool`: quick enough for a test, and without the default's patience.
    pub fn health_check(self, pool: &str, interval_ms: u32, timeout_ms: u32) -> Self {
        self.health_check_with(
            pool,
            &format!("interval = \"{interval_ms}ms\"\ntimeout = \"{timeout_ms}ms\"\nrise = 2\nfall = 3"),
        )
    }

    /// Adds a TCP check with these `keys` to `pool`.
    pub fn health_check_with(mut self, pool: &str, keys: &str) -> Self {
        self.table(&format!("[pools.{pool}.health_check]\ntype = \"tcp\"\n{keys}"));
        self
    }

    /// Adds a quick UDP check to `pool`, which an [`Echo`](super::datagram::Echo) can pass and fail: down after three
    /// that failed, up after one that passed.
    pub fn udp_check(mut self, pool: &str) -> Self {
        self.table(&format!(
            "[pools.{pool}.health_check]\ntype = \"udp\"\nsend = \"probe\"\n\
             interval = \"200ms\"\ntimeout = \"200ms\"\nrise = 1\nfall = 3"
        ));
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        format!("{}{}", self.top, self.tables)
    }

    fn table(&mut self, text: &str) {
        writeln!(self.tables, "\n{text}").expect("a String takes everything");
    }
}

/// The elements of a TOML array of strings.
fn quoted(items: &[impl Display]) -> String {
    items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}
