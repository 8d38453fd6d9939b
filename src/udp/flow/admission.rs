//! Whether one more flow may begin, and how many have to make room for it.
//!
//! At the bound, a flow that never had a reply makes room. A table can evict none but its own, and all tables of a listener
//! share its bound. So that a flood which comes to one of them leaves the others some room, a table with more than an even
//! share keeps a place free for each of the others: near the bound it gives up two flows for one.

use super::rules::Bounds;
use crate::metrics::reason::DropReason;

/// The most flows that are evicted for one that begins.
const MOST_EVICTED: usize = 2;

/// The part of the bound that is kept free at most: one in so many.
const SPARE_PART: u32 = 8;

/// Flows of a listener, in all of its tables together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// Of all clients.
    pub flows: u32,
    /// Of the client who asks for one more; of no interest where that is not bounded.
    pub of_source: u32,
}

impl Bounds {
    /// How many flows make room for one more, in a table that has `flows` of which `evictable` may be evicted now.
    ///
    /// # Errors
    /// There is no room, and none can be made.
    pub(super) fn admit(&self, occupancy: Occupancy, flows: usize, evictable: usize) -> Result<usize, DropReason> {
        if self.flows_per_source.is_some_and(|most| occupancy.of_source >= most) {
            return Err(DropReason::SourceLimit);
        }
        let is_full = occupancy.flows >= self.flows;
        if is_full && evictable == 0 {
            return Err(DropReason::TableFull);
        }
        let needed = usize::from(is_full);
        let has_large_share = flows - needed > (self.flows / self.tables) as usize;
        // Once the new flow has begun.
        let free = self.flows.saturating_sub(occupancy.flows + u32::from(!is_full));
        let wanted = if has_large_share && free < self.spare() { MOST_EVICTED } else { needed };
        Ok(wanted.min(evictable))
    }

    /// Places that a table with a large share keeps free.
    fn spare(&self) -> u32 {
        self.tables.min(self.flows / SPARE_PART).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { flows: 80, flows_per_source: None, tables: 4 };

    fn admit(bounds: Bounds, flows: u32, own: usize, evictable: usize) -> Result<usize, DropReason> {
        bounds.admit(Occupancy { flows, of_source: 5 }, own, evictable)
    }

    #[test]
    fn below_the_bound_nobody_makes_room() {
        assert_eq!(admit(BOUNDS, 0, 0, 0), Ok(0));
        assert_eq!(admit(BOUNDS, 76, 76, 76), Ok(0), "three places are left for the others");
    }

    #[test]
    fn at_the_bound_one_makes_room_unless_all_had_replies() {
        assert_eq!(admit(BOUNDS, 80, 20, 1), Ok(1));
        assert_eq!(admit(BOUNDS, 80, 20, 0), Err(DropReason::TableFull));
    }

    #[test]
    fn a_table_with_a_large_share_keeps_a_place_free_for_each_of_the_others() {
        assert_eq!(admit(BOUNDS, 77, 21, 9), Ok(2));
        assert_eq!(admit(BOUNDS, 77, 21, 1), Ok(1), "as far as it can");
        assert_eq!(admit(BOUNDS, 77, 21, 0), Ok(0), "and is let in all the same");
        assert_eq!(admit(BOUNDS, 80, 22, 9), Ok(2));
        assert_eq!(admit(BOUNDS, 80, 21, 9), Ok(1), "its share is even without the one that makes room");
        assert_eq!(admit(BOUNDS, 79, 20, 9), Ok(0), "an even share may be taken to the last place");
    }

    #[test]
    fn no_more_than_an_eighth_is_kept_free_and_a_table_that_is_alone_keeps_nothing() {
        let many = Bounds { tables: 64, ..BOUNDS };
        assert_eq!((admit(many, 70, 70, 9), admit(many, 71, 70, 9)), (Ok(0), Ok(2)), "nine places of eighty");
        let alone = Bounds { tables: 1, ..BOUNDS };
        assert_eq!(admit(alone, 79, 79, 79), Ok(0));
        let small = Bounds { flows: 4, ..BOUNDS };
        assert_eq!((admit(small, 3, 3, 3), admit(small, 4, 4, 4)), (Ok(0), Ok(1)));
    }

    #[test]
    fn a_source_at_its_bound_is_refused_and_nobody_makes_room_for_it() {
        let bounded = |most| Bounds { flows_per_source: Some(most), ..BOUNDS };
        assert_eq!(admit(bounded(6), 0, 0, 0), Ok(0));
        assert_eq!(admit(bounded(5), 80, 80, 80), Err(DropReason::SourceLimit));
    }

    #[test]
    fn a_bound_that_was_lowered_is_approached_from_above() {
        assert_eq!(admit(BOUNDS, 100, 20, 9), Ok(1), "whether that is enough is not said");
    }
}
