//! Positions: what a pick returns, and how members are told apart within a picker.

/// Items with their positions, as far as a `u16` counts: 65,535 of them.
pub(super) fn positioned<T>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = (u16, T)> {
    (0..u16::MAX).zip(items)
}
