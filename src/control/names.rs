//! Host names of backends, resolved at start and at every reload.
//!
//! A name stands for one address: the one it had before, if the resolver still says so, otherwise the least of its
//! answer, so that instances that see the answer in different orders agree. A name that once resolved keeps its last
//! good address while the resolver fails.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{BackendAddr, Config};

/// A resolver that is silent for this long has failed: one try of the system's resolver, by its default.
const LIMIT: Duration = Duration::from_secs(5);

/// A host name and a port.
type Name = (String, NonZeroU16);

/// The last good address of every name.
#[derive(Debug, Default, Clone)]
pub struct Names(HashMap<Name, SocketAddr>);

/// A name that never resolved.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve backend \"{host}\": {source}")]
pub struct Unresolved {
    host: String,
    source: io::Error,
}

impl Names {
    /// The addresses of all names in `config`, and of no others.
    ///
    /// # Errors
    /// A name does not resolve and never has.
    pub async fn resolve(&self, config: &Config) -> Result<Self, Unresolved> {
        let mut lookups: JoinSet<(Name, io::Result<Vec<SocketAddr>>)> = names(config)
            .map(|name| async move {
                let answer = timeout(LIMIT, lookup_host((name.0.as_str(), name.1.get()))).await;
                let addrs = answer.map_err(io::Error::from).flatten().map(Iterator::collect);
                (name, addrs)
            })
            .collect();
        let mut resolved = HashMap::new();
        while let Some(lookup) = lookups.join_next().await {
            let (name, answer) = lookup.map_err(|error| Unresolved { host: "?".into(), source: error.into() })?;
            let addr = self.choose(&name, answer)?;
            resolved.insert(name, addr);
        }
        Ok(Self(resolved))
    }

    /// The address of a name that was in the configuration.
    pub fn addr(&self, host: &str, port: NonZeroU16) -> Option<SocketAddr> {
        self.0.get(&(host.to_owned(), port)).copied()
    }

    fn choose(&self, name: &Name, answer: io::Result<Vec<SocketAddr>>) -> Result<SocketAddr, Unresolved> {
        let last = self.0.get(name).copied();
        let unresolved = |source| Unresolved { host: name.0.clone(), source };
        match (answer, last) {
            (Ok(addrs), Some(last)) if addrs.contains(&last) => Ok(last),
            (Ok(addrs), last) => match (addrs.into_iter().min(), last) {
                (Some(least), _) => Ok(least),
                (None, last) => last.ok_or_else(|| unresolved(io::ErrorKind::NotFound.into())),
            },
            (Err(error), Some(last)) => {
                tracing::warn!(host = name.0, %error, addr = %last, "a name does not resolve, its last address stays");
                Ok(last)
            }
            (Err(error), None) => Err(unresolved(error)),
        }
    }
}

fn names(config: &Config) -> impl Iterator<Item = Name> {
    let backends = config.pools.values().flat_map(|pool| &pool.backends);
    let named = backends.filter_map(|backend| match &backend.address {
        BackendAddr::Name { host, port } => Some((host.clone(), *port)),
        BackendAddr::Inet(_) | BackendAddr::Unix(_) => None,
    });
    named.collect::<std::collections::HashSet<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        ("db.example".into(), NonZeroU16::new(5432).expect("not zero"))
    }

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 5432))
    }

    #[test]
    fn an_address_that_is_still_in_the_answer_stays() {
        let names = Names(HashMap::from([(name(), addr(2))]));
        assert_eq!(names.choose(&name(), Ok(vec![addr(1), addr(2)])).expect("resolved"), addr(2));
        assert_eq!(names.choose(&name(), Ok(vec![addr(3), addr(1)])).expect("resolved"), addr(1));
    }

    #[test]
    fn a_failure_keeps_the_last_good_address_and_is_an_error_without_one() {
        let names = Names(HashMap::from([(name(), addr(2))]));
        assert_eq!(names.choose(&name(), Err(io::ErrorKind::TimedOut.into())).expect("kept"), addr(2));
        assert_eq!(names.choose(&name(), Ok(vec![])).expect("kept"), addr(2));
        let error = Names::default().choose(&name(), Err(io::ErrorKind::TimedOut.into())).expect_err("never known");
        assert_eq!(error.to_string(), "cannot resolve backend \"db.example\": timed out");
    }
}
