//! The part of a measurement that counts.

use std::time::Duration;

use tokio::time::sleep;

use super::clients::Clients;
use super::tally::Tally;
use crate::outcome::{Failure, Latencies, Sample};
use crate::proxy::Proxy;
use crate::system::Spent;

/// What happened between the two readings.
pub(super) struct Window {
    units: u64,
    latencies: Latencies,
    lags: Latencies,
    spent: Spent,
}

impl Window {
    /// Lets the clients warm up, reads the meters at both ends of the window, and winds the clients down.
    pub(super) async fn measure(
        clients: &mut Clients,
        proxy: &Proxy,
        tally: &Tally,
        length: Duration,
    ) -> Result<Self, Failure> {
        let measured = async {
            sleep(length / 5).await;
            let before = proxy.meters()?;
            tally.start_window();
            tokio::select! {
                () = sleep(length) => {}
                () = tally.full() => {}
            }
            let units = tally.end_window();
            Ok((units, proxy.meters()? - before))
        };
        let (units, spent) = tokio::select! {
            measured = measured => measured,
            // Clients repeat until they are told to stop: one that ends before has failed.
            failure = clients.first_end() => Err(failure),
        }?;
        tally.stop();
        clients.wind_down().await?;
        if units == 0 {
            return Err(Failure::Load("nothing came through".into()));
        }
        let (latencies, lags) = (tally.take_latencies(), tally.take_lags());
        Ok(Self { units, latencies, lags, spent })
    }

    /// Cost in microseconds an exchange or connection.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(super) fn per_operation(self) -> Sample {
        let operations = self.units as f64;
        let cost = self.spent.cpu_us() / operations;
        self.sample(cost, operations)
    }

    /// Cost in seconds a gigabyte; the units are bytes.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(super) fn per_gigabyte(self) -> Sample {
        let gigabytes = self.units as f64 / 1e9;
        let cost = self.spent.cpu_seconds() / gigabytes;
        self.sample(cost, gigabytes)
    }

    fn sample(self, cost: f64, units: f64) -> Sample {
        Sample {
            latency: self.latencies.percentiles(),
            lag: self.lags.percentiles(),
            ..Sample::new(cost, units / self.spent.seconds(), self.spent.disturbance())
        }
    }
}
