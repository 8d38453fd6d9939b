//! Running a program to its end while the proxy is watched.

use std::process::{Command, Stdio};

use crate::outcome::{Failure, Latency, Sample};
use crate::proxy::Proxy;

/// Connections of either program.
pub(super) const CLIENTS: u32 = 16;

/// What the proxy spends while `work` is done, which says how many units it was and how long one took.
pub(super) fn timed(
    proxy: &Proxy,
    work: impl FnOnce() -> Result<(u64, Option<Latency>), Failure>,
) -> Result<Sample, Failure> {
    let meters = proxy.meters()?;
    let (units, latency) = work()?;
    let spent = proxy.meters()? - meters;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let units = units as f64;
    Ok(Sample { latency, ..Sample::new(spent.cpu_us() / units, units / spent.seconds(), spent.disturbance()) })
}

/// Runs a program to its end; what it printed.
pub(super) fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output()?;
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        let last = errors.lines().last().unwrap_or_default();
        return Err(Failure::Load(format!("{:?}: {}: {last}", command.get_program(), output.status)));
    }
    Ok(out.into_owned())
}

pub(super) fn unexpected(report: &str) -> Failure {
    Failure::Load(format!("a program reports something unexpected: {report}"))
}
