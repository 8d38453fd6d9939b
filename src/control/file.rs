//! Reading the configuration file: one way for the start, for a reload and for `check`, or they would not accept the
//! same.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigErrors, Machine};

/// A configuration of a hundred thousand backends has a tenth of this; more is not a configuration.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Why a file gives no configuration.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, is larger than 64 MiB, or is not UTF-8.
    #[error("error: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said, or what is wrong with it.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// Reads and lowers a configuration file.
///
/// # Errors
/// The file cannot be read, or every error in it.
pub fn read(path: &Path, machine: &Machine) -> Result<Config, FileError> {
    let text = text(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    Ok(Config::parse(&path.display().to_string(), &text, machine)?)
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more than 64 MiB is not a configuration"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].iter().filter(|byte| **byte == b'\n').count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not UTF-8 text"))
    })
}
