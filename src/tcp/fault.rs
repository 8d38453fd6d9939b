//! Faults that only a test asks for: sessions that panic.
//!
//! `EVENKEEL_FAULT_PANIC_AT_START=NAME` makes every session of the listener `NAME` panic while it is set up.
//! `EVENKEEL_FAULT_PANIC=NAME` makes every session of the listener `NAME` panic that has the byte 0xFF waiting as the next
//! one from its client.

use super::Socket;
use crate::config::ListenerName;

/// Panics if the environment asks for it and the client has sent the magic byte. Nothing is read.
pub(super) fn panic_if_asked(listener: &ListenerName, client: &Socket) {
    let is_asked = std::env::var("EVENKEEL_FAULT_PANIC").as_deref() == Ok(listener.as_str());
    assert!(!is_asked || client.next_byte().ok() != Some(Some(0xff)), "a test asked for this panic");
}

/// Panics if the environment asks for it.
pub(super) fn panic_at_start_if_asked(listener: &ListenerName) {
    let is_asked = std::env::var("EVENKEEL_FAULT_PANIC_AT_START").as_deref() == Ok(listener.as_str());
    assert!(!is_asked, "a test asked for this panic");
}
