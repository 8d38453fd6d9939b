//! Who plays in the demo: the backends, the outages and the balancer's configuration. Pure.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::config::{
    AccessLog, Admin, Assignment, Backend, BackendAddr, BackendName, BindAddr, Config, HealthCheck, Listener,
    ListenerName, OnBackendDown, OnDown, Policy, Pool, PoolName, Priority, Probe, Protocol, Tcp, Udp,
};
use crate::demo::backend::Behaviour;

/// What the listener and the pool are called.
pub const NAME: &str = "demo";

/// What the listener for datagrams is called.
pub const UDP_NAME: &str = "demo-udp";

/// Data-plane threads of the demo's balancer.
pub const WORKERS: usize = 2;

/// The clients: 32 of them with 10 exchanges a second each keep a small share of one CPU busy.
pub const CLIENTS: u32 = 32;
/// Clients over UDP, each with a flow of its own and as many messages a second.
pub const UDP_CLIENTS: u32 = 16;
/// Messages of one session, which so lasts about a second.
pub const EXCHANGES: u32 = 10;
/// Bytes of one message.
pub const MESSAGE_BYTES: usize = 512;
/// From an answer to the next message.
pub const PAUSE: Duration = Duration::from_millis(100);

/// One backend of the demo.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Its name, which says how it behaves.
    pub name: &'static str,
    /// Waited before each answer.
    latency: Duration,
    /// Whether it dies and comes back.
    pub fate: Fate,
}

/// Whether a backend dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It lives as long as the demo.
    Immortal,
    /// It follows the schedule of [`next_turn`].
    Mortal,
}

/// The cast, in the order of the table.
pub const PARTS: [Part; 4] = [
    Part { name: "steady-1", latency: Duration::from_millis(2), fate: Fate::Immortal },
    Part { name: "steady-2", latency: Duration::from_millis(2), fate: Fate::Immortal },
    Part { name: "slow", latency: Duration::from_millis(50), fate: Fate::Immortal },
    Part { name: "mortal", latency: Duration::from_millis(2), fate: Fate::Mortal },
];

impl Part {
    /// How the simulated backend behaves while it is alive.
    pub fn behaviour(&self) -> Behaviour {
        Behaviour { latency: self.latency, ..Behaviour::default() }
    }
}

/// A mortal backend dies this long after the start, and so long after each return.
const LIFE: Duration = Duration::from_secs(5);
/// How long it stays dead.
const DEATH: Duration = Duration::from_secs(3);

/// The next thing that happens to a mortal backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It dies at this time since the start.
    Dies(Duration),
    /// It listens again at this time since the start.
    Returns(Duration),
}

/// What happens next, `elapsed` after the start.
pub fn next_turn(elapsed: Duration) -> Turn {
    let cycle = LIFE + DEATH;
    let cycles = elapsed.as_secs() / cycle.as_secs();
    let began = Duration::from_secs(cycles * cycle.as_secs());
    if elapsed < began + LIFE { Turn::Dies(began + LIFE) } else { Turn::Returns(began + cycle) }
}

/// The balancer in front of `backends`, one address for each of [`PARTS`], on free ports of 127.0.0.1.
pub fn config(backends: [SocketAddr; PARTS.len()]) -> Config {
    let pool = Pool {
        policy: Policy::LeastConnections,
        connect_timeout: Duration::from_millis(500),
        connect_attempts: nonzero_u16(3),
        backends: PARTS
            .iter()
            .zip(backends)
            .map(|(part, addr)| Backend {
                identity: BackendName::from(part.name),
                address: BackendAddr::Inet(addr),
                weight: 1,
                priority: Priority::Regular,
            })
            .collect(),
        health_check: Some(HealthCheck {
            probe: Probe::Tcp,
            port: None,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(500),
            rise: nonzero_u16(2),
            fall: nonzero_u16(2),
        }),
        passive_check: None,
        on_down: OnDown::Keep,
    };
    let listener = Listener {
        bind: vec![BindAddr::Tcp(free_port())],
        pool: PoolName::from(NAME),
        protocol: Protocol::Tcp(Tcp {
            max_connections: nonzero_u32(4 * CLIENTS),
            idle_timeout: Duration::from_secs(60),
            half_close_timeout: Duration::from_secs(10),
        }),
        access_log: AccessLog::Off,
    };
    Config {
        workers: NonZeroUsize::new(WORKERS).expect("not zero"),
        max_connections: nonzero_u32(4 * CLIENTS),
        busy_poll: None,
        default_max_flows: NonZeroU32::MIN,
        max_pipes: 2 * WORKERS,
        shutdown_timeout: Duration::from_secs(2),
        // The table shows what an operator would read in the log.
        log: "error".into(),
        admin: Admin { socket: None, http: Some(free_port()) },
        listeners: BTreeMap::from([
            (ListenerName::from(NAME), listener),
            (ListenerName::from(UDP_NAME), udp_listener()),
        ]),
        pools: BTreeMap::from([(PoolName::from(NAME), pool)]),
    }
}

/// Datagrams go to the same pool.
fn udp_listener() -> Listener {
    Listener {
        bind: vec![BindAddr::Udp(free_port())],
        pool: PoolName::from(NAME),
        protocol: Protocol::Udp(Udp {
            flow_idle_timeout: Duration::from_secs(60),
            requests: None,
            responses: None,
            assignment: Assignment::PerFlow,
            max_flows: nonzero_u32(4 * UDP_CLIENTS),
            max_flows_per_source: None,
            on_backend_down: OnBackendDown::Move,
            receive_buffer: nonzero_u32(1 << 20),
        }),
        access_log: AccessLog::Off,
    }
}

/// Any free port of the loopback.
pub fn free_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn nonzero_u16(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not zero")
}

fn nonzero_u32(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("not zero")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mortal_backend_dies_and_returns_in_turn() {
        let at = |millis| next_turn(Duration::from_millis(millis));
        assert_eq!(at(0), Turn::Dies(Duration::from_secs(5)));
        assert_eq!(at(4_999), Turn::Dies(Duration::from_secs(5)));
        assert_eq!(at(5_000), Turn::Returns(Duration::from_secs(8)));
        assert_eq!(at(7_999), Turn::Returns(Duration::from_secs(8)));
        assert_eq!(at(8_000), Turn::Dies(Duration::from_secs(13)));
    }

    #[test]
    fn the_configuration_keeps_what_a_parsed_one_promises() {
        let config = config([free_port(); PARTS.len()]);
        let pool = &config.pools[&PoolName::from(NAME)];
        let names: std::collections::HashSet<_> = pool.backends.iter().map(|backend| &backend.identity).collect();
        assert_eq!(names.len(), PARTS.len());
        let check = pool.health_check.as_ref().expect("the demo shows health checks");
        assert!(check.timeout <= check.interval);
        assert!(config.listeners.values().all(|listener| config.pools.contains_key(&listener.pool)));
    }
}
