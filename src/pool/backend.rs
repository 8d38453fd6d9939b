//! What is known of a backend across reloads: who it is, how busy, how healthy.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::balance::Load;
use crate::config::{BackendName, PoolName};
use crate::hash;
use crate::metrics::PerWorker;
use crate::metrics::stats::BackendStats;
use crate::pool::health::Health;

/// Seeds the hash of identities, so that it is independent of the hash of clients.
const IDENTITY_SEED: u64 = 0x6261_636b_656e_6400;

/// How long no client is sent to a backend whose machine has refused a datagram, if there is another. Then one client tries.
const REFUSAL_MEMORY_MS: u64 = 1_000;

/// Where a backend is, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What distinguishes one backend from every other, in every configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendKey {
    /// Its pool.
    pub pool: PoolName,
    /// Its identity within the pool.
    pub backend: BackendName,
}

/// The part of a backend that a reload leaves alone, as long as its key stays.
#[derive(Debug)]
pub struct BackendState {
    /// Who it is.
    pub key: BackendKey,
    /// Its outstanding sessions.
    pub load: Arc<Load>,
    /// Its counters.
    pub stats: PerWorker<BackendStats>,
    /// How its probes ended.
    pub probes: ProbeCounts,
    hash_key: u64,
    health: AtomicU8,
    cuts: AtomicU32,
    /// When its machine last refused a datagram, in milliseconds; 0 when it has answered since.
    refused_ms: AtomicU64,
}

/// What the data plane has counted of a backend so far, all workers together, that says something about its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Flows that came to have `unanswered` datagrams in a row without a reply.
    pub unanswered: u64,
    /// Datagrams that came back as ICMP errors.
    pub refused: u64,
    /// Datagrams that the backend sent.
    pub replies: u64,
}

/// Backends by name, with commas.
#[derive(Debug)]
pub struct Names<I>(pub I);

impl<'a, I: Iterator<Item = &'a Arc<BackendState>> + Clone> fmt::Display for Names<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, backend) in self.0.clone().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.write_str(backend.key.backend.as_str())?;
        }
        Ok(())
    }
}

/// What the monitor of health counts of a backend.
#[derive(Debug, Default)]
pub struct ProbeCounts {
    /// Probes that the backend passed.
    pub passed: AtomicU64,
    /// Probes that it failed.
    pub failed: AtomicU64,
    /// Probes that say nothing of it, for want of something of ours.
    pub inconclusive: AtomicU64,
    /// Changes of the verdict, the first one included.
    pub transitions: AtomicU64,
}

impl BackendState {
    /// A backend that nothing is known of yet.
    pub fn new(key: BackendKey, workers: usize, health: Health) -> Self {
        Self {
            hash_key: hash::hash(key.backend.as_str().as_bytes(), IDENTITY_SEED),
            key,
            load: Arc::default(),
            stats: PerWorker::new(workers),
            probes: ProbeCounts::default(),
            health: AtomicU8::new(health as u8),
            cuts: AtomicU32::new(0),
            refused_ms: AtomicU64::new(0),
        }
    }

    /// Hash of the identity; the same in every process.
    pub fn hash_key(&self) -> u64 {
        self.hash_key
    }

    /// Its health now.
    pub fn health(&self) -> Health {
        Health::from_index(self.health.load(Ordering::Relaxed))
    }

    /// What the data plane has counted of it so far.
    pub fn counted(&self) -> Counted {
        Counted {
            unanswered: self.stats.sum(|stats| stats.unanswered_flows.value()),
            refused: self.stats.sum(|stats| stats.refused_flows.value()),
            replies: self.stats.sum(|stats| stats.datagrams_downstream.value()),
        }
    }

    /// Its machine has refused a datagram.
    pub fn note_refusal(&self, now_ms: u64) {
        self.refused_ms.store(now_ms, Ordering::Relaxed);
    }

    /// It has answered a datagram.
    pub fn note_answer(&self) {
        if self.refused_ms.load(Ordering::Relaxed) != 0 {
            self.refused_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Whether its machine has refused a datagram a moment ago, and it has answered none since: more may be lost there.
    pub fn refuses(&self, now_ms: u64) -> bool {
        let refused_ms = self.refused_ms.load(Ordering::Relaxed);
        refused_ms != 0 && now_ms.saturating_sub(refused_ms) < REFUSAL_MEMORY_MS
    }

    /// Publishes its health; only who owns that may call this.
    pub fn publish_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
    }

    /// How often its sessions were ordered to close. A session that sees this change closes.
    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Orders every session that is now open to close; only the control plane may call this.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}
