//! Many flows of one exchange: what a new one costs, and what one that keeps still takes of memory.

use std::thread;
use std::time::Duration;

use super::clients::{clients, exchange_once};
use super::window::Window;
use super::work::{FLOWS, TRAIN};
use crate::outcome::{Failure, Sample};
use crate::proxy::Proxy;

pub(super) fn measure_new(proxy: &Proxy) -> Result<Sample, Failure> {
    let clients = clients(FLOWS, proxy)?;
    let mut window = Window::open(proxy)?;
    exchange_once(&clients, &mut window)?;
    window.close(proxy, 1.0)
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a process, far below 2^52")]
pub(super) fn measure_idle(proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    // What a proxy allocates at its first flows, whatever their number, is not theirs.
    exchange_once(&clients(TRAIN, proxy)?, &mut Window::open(proxy)?)?;
    let before = proxy.resident_bytes()?;
    let clients = clients(FLOWS, proxy)?;
    let mut opening = Window::open(proxy)?;
    exchange_once(&clients, &mut opening)?;
    let grown = proxy.resident_bytes()?.saturating_sub(before);
    let meters = proxy.meters()?;
    thread::sleep(length);
    let spent = proxy.meters()? - meters;
    let per_flow = grown as f64 / 1024.0 / FLOWS as f64;
    Ok(Sample {
        lost: Some(opening.lost()),
        ..Sample::new(per_flow, spent.cpu_us() / spent.seconds(), spent.disturbance())
    })
}
