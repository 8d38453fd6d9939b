//! From runs to a table for people, a file for programs and a picture.

mod evaluation;
mod findings;
mod machine;
mod picture;
mod table;

use std::fs;
use std::io;
use std::path::Path;

pub(crate) use self::findings::Report;
pub(crate) use self::machine::describe;

/// Writes all that was found, every run of it.
///
/// # Errors
/// As the file system gives them.
pub(crate) fn write_json(report: &Report, path: &Path) -> io::Result<()> {
    make_room_for(path)?;
    fs::write(path, serde_json::to_string_pretty(report)? + "\n")
}

/// What an earlier run found.
///
/// # Errors
/// The file cannot be read, or is none of ours.
pub(crate) fn read_json(path: &Path) -> io::Result<Report> {
    let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(with_path)?;
    serde_json::from_str(&text).map_err(|error| with_path(error.into()))
}

/// Draws the picture.
///
/// # Errors
/// As the file system gives them.
pub(crate) fn draw(report: &Report, path: &Path) -> io::Result<()> {
    make_room_for(path)?;
    picture::draw(report, path).map_err(io::Error::other)
}

fn make_room_for(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}
