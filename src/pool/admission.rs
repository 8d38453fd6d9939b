//! Who is let in: the one gate of sessions and flows.
//!
//! A client is admitted when every limit that applies to it has room: that of its own address, of its listener, of the
//! process. What it takes of each is a [`Permits`], which gives everything back when it is dropped. Limits are
//! arguments, because a reload may change them while permits are out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one listener has admitted.
#[derive(Debug, Default)]
pub struct Admission {
    all: Arc<Limiter>,
    sources: Arc<SourceLimiter>,
}

/// The bounds that hold for one client.
#[derive(Debug, Clone, Copy)]
pub struct Limits<'a> {
    /// Of the listener.
    pub listener: u32,
    /// Of the process, and what it has admitted; `None` where the listener's bound is a share of it already.
    pub process: Option<(&'a Arc<Limiter>, u32)>,
    /// Of each client address; unix clients have none.
    pub source: Option<(IpAddr, u32)>,
}

/// The limit that had no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// That of the client's address.
    Source,
    /// That of the listener.
    Listener,
    /// That of the process.
    Process,
}

/// One admitted session or flow; dropping it makes room in every limit.
#[derive(Debug)]
#[expect(dead_code, reason = "held until the session or flow ends, and given back by being dropped")]
pub struct Permits {
    listener: Permit,
    process: Option<Permit>,
    source: Option<SourcePermit>,
}

impl Admission {
    /// Takes a place in every limit, or in none.
    ///
    /// # Errors
    /// The first limit without room.
    pub fn admit(&self, limits: Limits<'_>) -> Result<Permits, Full> {
        let source = match limits.source {
            Some((addr, limit)) => Some(self.sources.admit(addr, limit).ok_or(Full::Source)?),
            None => None,
        };
        let listener = self.all.admit(limits.listener).ok_or(Full::Listener)?;
        let process = match limits.process {
            Some((process, limit)) => Some(process.admit(limit).ok_or(Full::Process)?),
            None => None,
        };
        Ok(Permits { listener, process, source })
    }

    /// Sessions or flows admitted and not yet over.
    pub fn admitted(&self) -> u32 {
        self.all.admitted()
    }

    /// Of those, how many from this address were admitted under a limit.
    pub fn admitted_from(&self, addr: IpAddr) -> u32 {
        self.sources.counts().get(&addr).copied().unwrap_or(0)
    }
}

/// A count of permits that is admitted to up to a bound.
#[derive(Debug, Default)]
pub struct Limiter {
    admitted: AtomicU32,
}

/// One of the permits of a [`Limiter`].
#[derive(Debug)]
struct Permit(Arc<Limiter>);

impl Limiter {
    fn admit(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        if self.admitted.fetch_add(1, Ordering::Relaxed) >= limit {
            self.admitted.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(Arc::clone(self)))
    }

    /// Permits now out.
    pub fn admitted(&self) -> u32 {
        self.admitted.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Permits by client address. The lock is taken when a session or flow begins and when it ends, and only where there is
/// a limit.
#[derive(Debug, Default)]
struct SourceLimiter {
    counts: Mutex<HashMap<IpAddr, u32>>,
}

/// One of the permits of an address.
#[derive(Debug)]
struct SourcePermit {
    sources: Arc<SourceLimiter>,
    addr: IpAddr,
}

impl SourceLimiter {
    /// There are never more entries than permits.
    fn admit(self: &Arc<Self>, addr: IpAddr, limit: u32) -> Option<SourcePermit> {
        let mut counts = self.counts();
        let count = counts.get(&addr).copied().unwrap_or(0);
        if count >= limit {
            return None;
        }
        counts.insert(addr, count + 1);
        drop(counts);
        Some(SourcePermit { sources: Arc::clone(self), addr })
    }

    /// Nothing under this lock can panic halfway, so a poisoned one is still whole.
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut counts = self.sources.counts();
        match counts.get_mut(&self.addr) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.addr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits<'_> = Limits { listener: 2, process: None, source: None };

    #[test]
    fn admits_up_to_the_limit_and_again_after_a_drop() {
        let admission = Admission::default();
        let first = admission.admit(LIMITS).expect("room");
        let second = admission.admit(LIMITS).expect("room");
        assert_eq!(admission.admit(LIMITS).expect_err("full"), Full::Listener);
        drop(first);
        let third = admission.admit(LIMITS).expect("room again");
        drop((second, third));
        assert_eq!(admission.admitted(), 0);
    }

    #[test]
    fn every_address_has_its_own_limit_and_nothing_is_kept_of_those_that_left() {
        let admission = Admission::default();
        let from = |last| Limits { listener: 9, source: Some((IpAddr::from([10, 0, 0, last]), 2)), ..LIMITS };
        let first = admission.admit(from(1)).expect("room");
        let second = admission.admit(from(1)).expect("room");
        assert_eq!(admission.admit(from(1)).expect_err("full"), Full::Source);
        assert_eq!([1, 2].map(|last| admission.admitted_from(IpAddr::from([10, 0, 0, last]))), [2, 0]);
        let third = admission.admit(from(2)).expect("room for another");
        drop(first);
        let fourth = admission.admit(from(1)).expect("room again");
        drop((second, third, fourth));
        assert!(admission.sources.counts().is_empty());
    }

    #[test]
    fn a_client_that_one_limit_refuses_takes_a_place_in_none() {
        let (admission, process) = (Admission::default(), Arc::<Limiter>::default());
        let source = Some((IpAddr::from([10, 0, 0, 1]), 9));
        let within = |limit| Limits { listener: 9, process: Some((&process, limit)), source };
        let first = admission.admit(within(1)).expect("room");
        assert_eq!(admission.admit(within(1)).expect_err("full"), Full::Process);
        assert_eq!((admission.admitted(), process.admitted()), (1, 1));
        assert_eq!(admission.sources.counts().values().sum::<u32>(), 1);
        drop(first);
        assert_eq!((admission.admitted(), process.admitted()), (0, 0));
        assert!(admission.sources.counts().is_empty());
    }
}
