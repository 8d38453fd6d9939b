//! What is to be measured, decided.

mod cases;

use std::time::Duration;

pub(crate) use self::cases::{CASES, Case, Shown};
use crate::peers::Peer;
use crate::system::Cpus;

/// The decided command line.
pub(crate) struct Plan {
    pub(crate) cases: Vec<&'static Case>,
    /// All that there are, whether they take part or not.
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
        let reference = self.reference_of(case).name;
        let takes_part = |peer: &&Peer| peer.name == reference || self.is_wanted(peer, case) && can(peer, case);
        self.peers.iter().filter(takes_part).collect()
    }

    /// The peer that the others stand between.
    pub(crate) fn reference_of(&self, case: &Case) -> &Peer {
        let named = |name: &str| self.peers.iter().find(|peer| peer.name == name);
        let asked_for = self.reference.and_then(named).filter(|peer| can(peer, case));
        asked_for.or_else(|| named(case.load.reference())).expect("there is a reference for each kind of load")
    }

    /// Who stands between two runs of the reference.
    pub(crate) fn contestants_of(&self, case: &Case) -> Vec<&Peer> {
        let reference = self.reference_of(case).name;
        self.peers_of(case).into_iter().filter(|peer| peer.name != reference).collect()
    }

    /// Who would take part in a case if it could, and why it cannot.
    pub(crate) fn left_out_of(&self, case: &Case) -> Vec<(&Peer, &'static str)> {
        let why_not = |peer| Some((peer, Peer::cannot(peer, case.load.need())?));
        self.peers.iter().filter(|peer| self.is_wanted(peer, case)).filter_map(why_not).collect()
    }

    /// Who is measured at all.
    pub(crate) fn participants(&self) -> Vec<&Peer> {
        let takes_part = |peer: &&Peer| {
            self.cases.iter().any(|case| self.peers_of(case).iter().any(|participant| participant.name == peer.name))
        };
        self.peers.iter().filter(takes_part).collect()
    }

    fn is_wanted(&self, peer: &Peer, case: &Case) -> bool {
        match &self.selection {
            Selection::ByContest => case.load.contests().contains(&peer.contest),
            Selection::ByName(names) => names.contains(&peer.name),
        }
    }
}

/// Whether a peer can do a case, and says something in it.
fn can(peer: &Peer, case: &Case) -> bool {
    peer.cannot(case.load.need()).is_none() && (case.load.has_limits() || !peer.is_limit())
}
