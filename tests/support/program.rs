//! The programs of other packages that tests run.

use std::env;
use std::path::PathBuf;

/// The path of `program`, looked for in `directories` and then in PATH.
///
/// # Panics
/// When it is not there; the message names the Debian package that has it.
pub fn find(program: &str, package: &str, directories: impl IntoIterator<Item = PathBuf>) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    directories
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{program} is not installed: this test needs the package {package}"))
}
