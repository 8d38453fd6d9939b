//! A fault that only a test asks for: a worker that panics outside of every session.

/// Panics if the environment asks for it.
pub(super) fn panic_if_asked() {
    assert!(std::env::var_os("EVENKEEL_FAULT_PANIC_WORKER").is_none(), "a test asked for this panic");
}
