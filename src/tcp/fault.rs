//! A fault that only a test asks for: a session that panics.
//!
//! `EVENKEEL_FAULT_PANIC=NAME` makes every session of the listener `NAME` whose client begins with the byte 0xFF panic.

use std::future::poll_fn;

use super::Socket;
use crate::config::ListenerName;

/// Panics if the environment asks for it and the client begins with the magic byte.
pub(super) async fn panic_if_asked(listener: &ListenerName, client: &Socket) {
    if std::env::var("EVENKEEL_FAULT_PANIC").as_deref() != Ok(listener.as_str()) {
        return;
    }
    let mut first = [0; 1];
    let received = poll_fn(|cx| client.poll_receive(cx, &mut first)).await;
    assert!(!matches!((received, first), (Ok(1), [0xff])), "a test asked for this panic");
}
