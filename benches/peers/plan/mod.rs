//! What is to be measured, decided.

mod cases;

use std::time::Duration;

pub(crate) use self::cases::{CASES, Case, Shown};
use crate::peers::{Contest, Peer};
use crate::system::Cpus;

/// The decided command line.
pub(crate) struct Plan {
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
    pub(crate) cpus: Cpus,
}

impl Plan {
    /// Who takes part in a case; those that were only asked for by name do wherever they can.
    pub(crate) fn peers_of(&self, case: &Case) -> Vec<&Peer> {
        let contest = case.load.contest();
        let is_guest = |peer: &Peer| peer.contest == Contest::OnRequest && contest != Contest::Datagrams;
        self.peers
            .iter()
            .filter(|peer| peer.enters(contest) || is_guest(peer))
            .filter(|peer| case.load.has_limits() || !peer.is_limit())
            .collect()
    }
}
