//! Judging a backend by consecutive probe results: pure, the clock and the sockets are elsewhere.

/// What probes say of a backend. Kept apart from what the operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// No result yet; used only while nothing is known to be up.
    Checking,
    /// Gets sessions. Also the status of a backend that is not probed.
    Up,
    /// Gets no sessions.
    Down,
}

impl Status {
    /// The inverse of `status as u8`.
    pub fn from_index(index: u8) -> Self {
        match index {
            0 => Self::Checking,
            1 => Self::Up,
            _ => Self::Down,
        }
    }
}
