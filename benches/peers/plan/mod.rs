//! What is to be measured, decided.

mod cases;

use std::time::Duration;

pub(crate) use self::cases::{CASES, Case, Shown};
use crate::peers::Peer;
use crate::system::Cpus;

/// The decided command line.
pub(crate) struct Plan {
    pub(crate) cases: Vec<&'static Case>,
    /// All that take part in any case.
    pub(crate) peers: Vec<Peer>,
    pub(crate) selection: Selection,
    /// The peer that the others stand between, where it can do a case.
    pub(crate) reference: Option<&'static str>,
    pub(crate) rounds: u32,
    pub(crate) length: Duration,
    pub(crate) cpus: Cpus,
}

/// Who takes part.
pub(crate) enum Selection {
    /// In each case those whom it compares.
    ByContest,
    /// These in every case that they can do.
    ByName(Vec<&'static str>),
}

impl Plan {
    /// Who takes part in a case, in the order of the table.
    pub(crate) fn peers_of(&self, case: &Case) -> Vec<&Peer> {
        let reference = self.reference_name(case);
        let takes_part = |peer: &&Peer| peer.name == reference || self.is_selected(peer, case);
        self.peers.iter().filter(takes_part).collect()
    }

    /// The peer that the others stand between.
    pub(crate) fn reference_of(&self, case: &Case) -> &Peer {
        let name = self.reference_name(case);
        self.peers.iter().find(|peer| peer.name == name).expect("a plan holds the reference of each of its cases")
    }

    /// Who stands between two runs of the reference.
    pub(crate) fn contestants_of(&self, case: &Case) -> Vec<&Peer> {
        let reference = self.reference_name(case);
        self.peers_of(case).into_iter().filter(|peer| peer.name != reference).collect()
    }

    /// Leaves out whom no case needs.
    pub(crate) fn without_idlers(mut self) -> Self {
        let needed: Vec<&str> = self.cases.iter().flat_map(|case| self.peers_of(case)).map(|peer| peer.name).collect();
        self.peers.retain(|peer| needed.contains(&peer.name));
        self
    }

    fn is_selected(&self, peer: &Peer, case: &Case) -> bool {
        let selected = match &self.selection {
            Selection::ByContest => peer.enters(case.load.contest()),
            Selection::ByName(names) => names.contains(&peer.name),
        };
        selected && can(peer, case)
    }

    fn reference_name(&self, case: &Case) -> &'static str {
        let asked_for = self.peers.iter().find(|peer| Some(peer.name) == self.reference);
        asked_for.filter(|peer| can(peer, case)).map_or_else(|| case.load.contest().reference(), |peer| peer.name)
    }
}

/// Whether a peer can do a case, and says something in it.
fn can(peer: &Peer, case: &Case) -> bool {
    peer.forwards(case.load.transport()) && (case.load.has_limits() || !peer.is_limit())
}
