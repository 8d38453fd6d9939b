//! What of the machine a configuration is checked against.

use std::num::NonZeroUsize;

/// What of the machine the limits are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Open descriptors that this process may have (the hard limit, which `run` raises itself to).
    pub descriptor_limit: u64,
    /// Ports that sockets without one of their own may have; each flow takes one, whatever its backend.
    pub ephemeral_ports: u32,
    /// CPUs in the affinity mask.
    pub cpus: NonZeroUsize,
}
