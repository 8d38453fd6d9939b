//! The order of the runs of one case in one round.
//!
//! The reference R and its contestants A, B, C come in the order R A R B R C R. So each of them is seen beside the machine
//! as it was at that very time, and what makes it slower or faster for minutes is no advantage to anybody.

/// Puts each of the others between two of the reference, which has the even places.
pub(crate) fn interleave<T: Copy>(reference: T, others: &[T]) -> Vec<T> {
    let mut order = vec![reference];
    for &other in others {
        order.extend([other, reference]);
    }
    order
}

/// The places of the reference's next run before and its next run after `place`; the latter may be past the end. `None` at
/// the beginning.
pub(crate) fn neighbours(place: usize) -> Option<[usize; 2]> {
    // From one run of the reference to its next there is a contestant between.
    let distance = if place.is_multiple_of(2) { 2 } else { 1 };
    Some([place.checked_sub(distance)?, place + distance])
}
