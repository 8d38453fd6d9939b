//! The health of a backend, as both planes know it. How it is found out is no concern of this floor.

/// What probes say of a backend. Kept apart from what the operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No result yet; used only while nothing is known to be up.
    Checking,
    /// Gets sessions. Also the health of a backend that is not probed.
    Up,
    /// Gets no sessions.
    Down,
}

impl Health {
    /// The inverse of `health as u8`.
    pub fn from_index(index: u8) -> Self {
        match index {
            0 => Self::Checking,
            1 => Self::Up,
            _ => Self::Down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Health;
    use super::Health::{Checking, Down, Up};

    #[test]
    fn a_health_survives_its_index() {
        for health in [Checking, Up, Down] {
            assert_eq!(Health::from_index(health as u8), health);
        }
    }
}
