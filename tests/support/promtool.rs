//! Prometheus' own judgement of what is exported.

use std::io::Write;
use std::process::{Command, Stdio};

/// Passes `text` through `promtool check metrics`.
///
/// # Panics
/// When promtool is not installed, or has anything to say.
#[track_caller]
pub fn accept(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian package prometheus)");
    let mut stdin = promtool.stdin.take().expect("stdin is a pipe");
    stdin.write_all(text.as_bytes()).expect("promtool reads all of its input");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}
