//! Names that the author gives to listeners, pools and backends.

use super::keys::{Shape, Text};
use super::read::{Raw, Read, Reader, Refusal};
use crate::config::error::quote;
use crate::config::types::{BackendName, PoolName};

/// Names are labels of metrics and words of a command line.
const MAX_NAME: usize = 64;

/// A regular expression for them.
pub(crate) const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$";

/// Refuses what could not be typed on a command line or would spoil a metric.
pub(super) fn check(name: &str) -> Result<(), Refusal> {
    let is_sane = (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'));
    if is_sane {
        return Ok(());
    }
    let help = format!("a name is up to {MAX_NAME} letters, digits, `-`, `_`, `.` and `:`, a letter or digit first");
    Err((format!("{} is not a name", quote(name)), Some(help)))
}

impl Read for BackendName {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, |text| check(text).map(|()| Self::from(text)))
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "name", pattern: Some(PATTERN) })
    }
}

/// The name of a pool that may or may not be there.
impl Read for PoolName {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, |text| Ok(Self::from(text)))
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "name of a pool", pattern: Some(PATTERN) })
    }
}
