//! Whether an access log was really written.

use std::fs;
use std::path::Path;

use crate::outcome::Failure;

/// Lines beside the records: what a proxy says when it starts and stops.
const OTHER_LINES: u64 = 50;

/// # Errors
/// `file` does not hold about one line for each of `sessions`. They may be a hundredth more: programs that are a load do not
/// count every connection that they make.
pub(super) fn check(file: &Path, sessions: u64) -> Result<(), Failure> {
    let text = fs::read(file)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    if lines < sessions || lines > sessions + sessions / 100 + OTHER_LINES {
        return Err(Failure::Load(format!("the access log has {lines} lines after {sessions} sessions")));
    }
    Ok(())
}
