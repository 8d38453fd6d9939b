//! A fault that only a test asks for: a turn that panics.

use crate::config::ListenerName;

/// Panics if `EVENKEEL_FAULT_PANIC` names the listener and a datagram of a client is the byte 0xFF alone.
pub(super) fn panic_if_asked(listener: &ListenerName, datagram: &[u8]) {
    let is_asked = datagram == [0xff] && std::env::var("EVENKEEL_FAULT_PANIC").as_deref() == Ok(listener.as_str());
    assert!(!is_asked, "a test asked for this panic");
}
