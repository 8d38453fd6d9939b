//! What is said of a backend: its health by probes and clients' traffic, and its admin state by the operator. Neither
//! changes the other. How health is found out is no concern of this floor.

/// What probes and clients' traffic say of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// No result yet; used only while nothing is known to be up.
    Checking,
    /// Gets sessions. Also the health of a backend that is not checked.
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

/// What the operator says of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    /// It may be used.
    #[default]
    Ready,
    /// It gets no new sessions; those that it has go on, and its health is still looked after.
    Drain,
    /// As `Drain`, and its health is not checked: it is being worked on.
    Maint,
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn a_health_survives_its_index() {
        for health in [Health::Checking, Health::Up, Health::Down] {
            assert_eq!(Health::from_index(health as u8), health);
        }
    }
}
