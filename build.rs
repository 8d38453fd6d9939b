//! Tells the crate which commit it is built from.
//!
//! `EVENKEEL_COMMIT` in the environment wins, for builds from an archive; without it and outside a git checkout the
//! commit is `unknown`, and the build goes on.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EVENKEEL_COMMIT");
    let commit = std::env::var("EVENKEEL_COMMIT").ok().or_else(head).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=EVENKEEL_COMMIT={commit}");
}

/// The checked-out commit. `None` also inside a checkout that merely contains this source, such as a vendored copy.
fn head() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // HEAD changes with the branch, its log with every commit. Watching a file that does not exist would run this
    // script at every build.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The one line that git answers, if it does.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let line = String::from_utf8(output.stdout).ok()?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}
