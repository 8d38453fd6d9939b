//! One probe of one backend. A kind of probe is a file here and a line in [`attempt`].

mod dns;
mod tcp;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::verdict::ProbeResult;
use crate::config::{HealthCheck, Probe};
use crate::pool::backend::Endpoint;
use crate::sys::errno::{Cause, cause};

/// What is probed, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) check: HealthCheck,
}

/// Why a backend did not pass.
#[derive(Debug)]
enum Failure {
    /// Nothing could be sent.
    Unsent(io::Error),
    /// What was sent came to nothing.
    Unanswered(io::Error),
    /// The answer is not the one that it should be.
    Wrong(String),
}

/// Probes once.
pub(super) async fn probe(target: &Target) -> ProbeResult {
    let endpoint = match (&target.endpoint, target.check.port) {
        (Endpoint::Inet(addr), Some(port)) => Endpoint::Inet(SocketAddr::new(addr.ip(), port.get())),
        (endpoint, _) => endpoint.clone(),
    };
    match attempt(&endpoint, &target.check).await {
        Ok(()) => ProbeResult::Passed,
        Err(failure) if is_for_want_of_ours(&failure, &endpoint) => ProbeResult::Inconclusive(failure.reason()),
        Err(failure) => ProbeResult::Failed(failure.reason()),
    }
}

/// Whatever the check asks of the endpoint. What is no stream has only IP addresses, as the configuration sees to.
async fn attempt(endpoint: &Endpoint, check: &HealthCheck) -> Result<(), Failure> {
    match (&check.probe, endpoint) {
        (Probe::Udp(probe), Endpoint::Inet(addr)) => within(check.timeout, udp::exchange(*addr, probe)).await,
        (Probe::Dns(probe), Endpoint::Inet(addr)) => within(check.timeout, dns::ask(*addr, probe)).await,
        (Probe::Tcp, _) | (Probe::Udp(_) | Probe::Dns(_), Endpoint::Unix(_)) => {
            tcp::connect(endpoint, check.timeout).await
        }
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(limit, answer).await.unwrap_or_else(|elapsed| Err(Failure::Unanswered(elapsed.into())))
}

/// Whether a probe failed for want of something of ours: descriptors, memory, ports, permission, or, if the kernel says
/// so before anything has left, an address or a route. What comes later was said by another machine.
fn is_for_want_of_ours(failure: &Failure, endpoint: &Endpoint) -> bool {
    let (error, was_sent) = match failure {
        Failure::Unsent(error) => (error, false),
        Failure::Unanswered(error) => (error, true),
        Failure::Wrong(_) => return false,
    };
    match cause(error) {
        Cause::Exhausted | Cause::Forbidden | Cause::NoAddress | Cause::QueueFull => true,
        Cause::Unreachable | Cause::Prohibited => !was_sent,
        // The queue of a unix socket is that of the backend.
        Cause::WouldBlock => !was_sent && matches!(endpoint, Endpoint::Inet(_)),
        Cause::Refused | Cause::Reset | Cause::TimedOut | Cause::Interrupted | Cause::Protocol | Cause::Other => false,
    }
}

impl Failure {
    fn reason(&self) -> String {
        match self {
            Self::Unsent(error) | Self::Unanswered(error) => error.to_string(),
            Self::Wrong(answer) => answer.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_we_lack_is_told_from_what_the_backend_lacks() {
        let (unsent, unanswered) = (Failure::Unsent as fn(io::Error) -> Failure, Failure::Unanswered as fn(_) -> _);
        let (inet, unix) = (Endpoint::Inet(([192, 0, 2, 1], 1).into()), Endpoint::Unix("/run/backend".into()));
        for (failed, errno, endpoint, expected) in [
            (unsent, Errno::MFILE, &inet, true),
            (unsent, Errno::NOMEM, &inet, true),
            (unsent, Errno::NOBUFS, &inet, true),
            (unsent, Errno::ADDRNOTAVAIL, &inet, true),
            (unsent, Errno::PERM, &inet, true),
            (unsent, Errno::NETUNREACH, &inet, true),
            (unsent, Errno::ACCESS, &inet, true),
            (unsent, Errno::AGAIN, &inet, true),
            (unsent, Errno::ACCESS, &unix, true),
            (unsent, Errno::AGAIN, &unix, false),
            (unsent, Errno::NOENT, &unix, false),
            (unsent, Errno::CONNREFUSED, &inet, false),
            (unanswered, Errno::CONNREFUSED, &inet, false),
            (unanswered, Errno::NETUNREACH, &inet, false),
            (unanswered, Errno::HOSTUNREACH, &inet, false),
            (unanswered, Errno::ACCESS, &inet, false),
            (unanswered, Errno::TIMEDOUT, &inet, false),
            (unanswered, Errno::NOSPC, &inet, true),
        ] {
            let failure = failed(errno.into());
            assert_eq!(is_for_want_of_ours(&failure, endpoint), expected, "{failure:?} of {endpoint}");
        }
        assert!(!is_for_want_of_ours(&Failure::Wrong("RCODE 2".into()), &inet));
    }
}
