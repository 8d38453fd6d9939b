//! A fault that only a test asks for: a session that panics.
//!
//! `EVENKEEL_FAULT_PANIC=NAME` makes every session of the listener `NAME` panic that has the byte 0xFF waiting as the next
//! one from its client.

use super::Socket;
use crate::config::ListenerName;

/// Panics if the environment asks for it and the client has sent the magic byte. Nothing is read.
pub(super) fn panic_if_asked(listener: &ListenerName, client: &Socket) {
    let is_asked = std::env::var("EVENKEEL_FAULT_PANIC").as_deref() == Ok(listener.as_str());
    assert!(!is_asked || client.next_byte().ok() != Some(Some(0xff)), "a test asked for this panic");
}
