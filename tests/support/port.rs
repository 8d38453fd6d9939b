//! Free ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's ephemeral range (32768 and up): a port from inside it, even one just seen free, can become the
/// source port of any outgoing connection before the balancer binds it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// How many ports this process has looked at.
static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A port that nothing on 127.0.0.1 is bound to, different at every call within this process.
pub fn free_port() -> u16 {
    // Test processes that run at the same time start at different places.
    let start = process::id().wrapping_mul(1_009) % u32::from(COUNT);
    for _ in 0..COUNT {
        let offset = (start + u32::from(TAKEN.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("below COUNT");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on, {COUNT} tried");
}

/// 127.0.0.1 with a free port.
pub fn free_addr() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
