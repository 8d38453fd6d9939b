//! How many flows each client address has, over all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts by address. The lock is taken when a flow begins and when it ends, and only where there is a limit.
#[derive(Debug, Default)]
pub struct Sources {
    counts: Mutex<HashMap<IpAddr, u32>>,
}

/// One flow of an address; dropping it makes room.
#[derive(Debug)]
pub struct SourcePermit {
    sources: Arc<Sources>,
    ip: IpAddr,
}

impl Sources {
    /// A permit, unless `limit` are out for this address already. There are never more entries than permits.
    pub fn admit(self: &Arc<Self>, ip: IpAddr, limit: u32) -> Option<SourcePermit> {
        let mut counts = self.counts();
        let count = counts.get(&ip).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        counts.insert(ip, count + 1);
        drop(counts);
        Some(SourcePermit { sources: Arc::clone(self), ip })
    }

    /// Nothing under this lock can panic halfway, so a poisoned one is still whole.
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut counts = self.sources.counts();
        match counts.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.ip)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_own_limit_and_nothing_is_kept_of_those_that_left() {
        let sources = Arc::<Sources>::default();
        let [one, other] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let first = sources.admit(one, 2).expect("room");
        let second = sources.admit(one, 2).expect("room");
        assert!(sources.admit(one, 2).is_none());
        let third = sources.admit(other, 2).expect("room for another");
        drop(first);
        let fourth = sources.admit(one, 2).expect("room again");
        drop((second, third, fourth));
        assert!(sources.counts().is_empty());
    }
}
