//! The life of the process, to be watched.

/// Where the process is in its life.
///
/// ```text
/// Starting -> Running -> Draining -> Stopped
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Binding and building; not ready.
    Starting,
    /// Accepting; the signal handlers are installed.
    Running,
    /// Not accepting; sessions may finish until the deadline.
    Draining,
    /// No session is left.
    Stopped,
}
