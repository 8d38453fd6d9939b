//! Least latency: the member that is likely to answer first, `latency * (active + 1) / weight`.
//!
//! The sessions it has stand for the queue that one more would join. Few members are all compared; of many, two are drawn by
//! weight, which costs the same for any number and does not send all workers to the same one.

use super::candidate::Candidate;
use super::member::Member;
use super::request::Request;
use super::weighted_candidates::WeightedCandidates;

/// Up to so many are all compared: a cache line each, which takes about as long as drawing two of many.
const FEW: usize = 8;

/// In the place of an average while no candidate has one; any would do.
const ALL_UNKNOWN: f32 = 1.0;

/// The members that may be picked.
#[derive(Debug)]
pub struct LeastLatency(WeightedCandidates);

impl LeastLatency {
    /// A picker over those of `members` that are available and have weight.
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self(WeightedCandidates::new(members))
    }

    /// The one with the lowest score of those compared, none of them tried.
    pub(super) fn pick(&self, request: Request<'_>) -> Option<u16> {
        if self.0.len() <= FEW {
            lowest(self.0.all_from_drawn(request)?, request)
        } else {
            lowest(self.0.draw_two(request)?.into_iter(), request)
        }
    }
}

/// The position of the one with the lowest score, of at most [`FEW`]; of equal ones the first, which was drawn by chance.
fn lowest<'a>(compared: impl Iterator<Item = &'a Candidate> + Clone, request: Request<'_>) -> Option<u16> {
    let mut latencies = [None; FEW];
    let mut fastest = None;
    for (latency, candidate) in latencies.iter_mut().zip(compared.clone()) {
        *latency = candidate.load.latency.at(request.now_ms);
        fastest = latency.map(|latency| fastest.map_or(latency, |fastest: f32| fastest.min(latency))).or(fastest);
    }
    // One that never answered is taken for as fast as the fastest: it is tried soon, and still by its share only.
    let unknown = fastest.unwrap_or(ALL_UNKNOWN);
    let (_, best) = compared
        .zip(latencies)
        .map(|(candidate, latency)| (Score::of_one_more(candidate, latency.unwrap_or(unknown)), candidate))
        .reduce(|best, next| if next.0.is_below(best.0) { next } else { best })?;
    Some(best.position)
}

/// `latency * (active + 1) / weight` as a fraction, which is compared without a division.
#[derive(Debug, Clone, Copy)]
struct Score {
    work: f64,
    weight: f64,
}

impl Score {
    fn of_one_more(candidate: &Candidate, latency: f32) -> Self {
        let sessions = candidate.load.active().saturating_add(1);
        Self { work: f64::from(latency) * f64::from(sessions), weight: f64::from(candidate.weight) }
    }

    fn is_below(self, other: Self) -> bool {
        self.work * other.weight < other.work * self.weight
    }
}

#[cfg(test)]
mod tests;
