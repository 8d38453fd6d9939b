//! What is counted between two readings of the meters.

use std::io;
use std::time::{Duration, Instant};

use crate::outcome::{Failure, Latencies, Sample};
use crate::proxy::Proxy;
use crate::system::Meters;

/// A window that is open.
pub(super) struct Window {
    start: Instant,
    meters: Meters,
    latencies: Latencies,
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Window {
    pub(super) fn open(proxy: &Proxy) -> io::Result<Self> {
        let meters = proxy.meters()?;
        Ok(Self { start: Instant::now(), meters, latencies: Latencies::default(), sent: 0, received: 0 })
    }

    pub(super) fn is_shorter_than(&self, length: Duration) -> bool {
        self.start.elapsed() < length
    }

    /// Notes what came back just now.
    pub(super) fn took(&mut self, since: Instant) {
        self.latencies.record(since.elapsed());
    }

    /// What is still under way is not lost.
    pub(super) fn leave_out(&mut self, under_way: usize) {
        self.sent = self.sent.saturating_sub(under_way as u64).max(self.received);
    }

    /// Share of what was sent that did not come back.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(super) fn lost(&self) -> f64 {
        1.0 - self.received as f64 / self.sent as f64
    }

    /// `passes` says how often each datagram that came back went through the proxy.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(super) fn close(self, proxy: &Proxy, passes: f64) -> Result<Sample, Failure> {
        if self.received == 0 {
            return Err(Failure::Load("nothing came through".into()));
        }
        let spent = proxy.meters()? - self.meters;
        let lost = self.lost();
        let units = self.received as f64 * passes;
        Ok(Sample {
            latency: self.latencies.percentiles(),
            lost: Some(lost),
            ..Sample::new(spent.cpu_us() / units, units / spent.seconds(), spent.disturbance())
        })
    }
}
