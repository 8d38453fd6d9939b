//! `dnsperf` as the clients.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::window::Window;
use crate::outcome::{Failure, Sample};
use crate::proxy::Proxy;

pub(super) fn measure(proxy: &Proxy, length: Duration) -> Result<Sample, Failure> {
    let questions = tempfile::NamedTempFile::new()?;
    std::fs::write(questions.path(), "www.example.test A\nns.example.test A\n")?;
    let mut window = Window::open(proxy)?;
    let output = Command::new("dnsperf")
        .args(["-s", &proxy.addr().ip().to_string(), "-p", &proxy.addr().port().to_string(), "-d"])
        .arg(questions.path())
        .args(["-l", &length.as_secs().max(1).to_string(), "-c", "16", "-q", "64", "-t", "1"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::MissingPeer(format!("dnsperf: {error}: scripts/setup.sh")))?;
    let report = String::from_utf8_lossy(&output.stdout);
    let number = |label: &str| {
        let line = report.lines().find(|line| line.trim_start().starts_with(label));
        let number = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
        number.ok_or_else(|| Failure::Load(format!("dnsperf does not report {label:?}")))
    };
    window.sent = number("Queries sent:")?;
    window.received = number("Queries completed:")?;
    window.close(proxy, 2.0)
}
