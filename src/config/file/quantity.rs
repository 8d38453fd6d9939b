//! Durations and sizes: strings with a unit.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::keys::Shape;
use super::read::{Raw, Read, Reader, Written};
use super::units::{SIZES, Show, ShowSize};
use crate::config::error::{Problem, quote};

const SIZE_HINT: &str = "a size is a string with a unit: \"64KiB\", \"4MiB\", \"1GiB\"";
const DURATION_HINT: &str = "a duration is a string with a unit: \"500ms\", \"2s\", \"5m\", \"1h\", \"7d\"";

impl Read<RangeInclusive<Duration>> for Duration {
    fn read(raw: Raw<'_>, bounds: &RangeInclusive<Duration>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::String(text) = raw.value else {
            return reader.refuse_type(raw, "a duration", Some(DURATION_HINT));
        };
        let Ok(duration) = humantime::parse_duration(text) else {
            let message = format!("`{}` is not a duration: {}", raw.key, quote(text));
            reader.problems.report(Problem::new(raw.place, message).help(DURATION_HINT));
            return None;
        };
        if bounds.contains(&duration) {
            return Some(duration);
        }
        reader.refuse_range(raw, &format!("a duration from {} to {}", Show(*bounds.start()), Show(*bounds.end())))
    }

    fn shape(bounds: &RangeInclusive<Duration>) -> Shape {
        Shape::Duration { min: *bounds.start(), max: *bounds.end() }
    }
}

/// A number of bytes, `"64KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) NonZeroU32);

impl Read<RangeInclusive<u32>> for Size {
    fn read(raw: Raw<'_>, bounds: &RangeInclusive<u32>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::String(text) = raw.value else { return reader.refuse_type(raw, "a size", Some(SIZE_HINT)) };
        let Some(bytes) = bytes(text) else {
            let message = format!("`{}` is not a size: {}", raw.key, quote(text));
            reader.problems.report(Problem::new(raw.place, message).help(SIZE_HINT));
            return None;
        };
        let size = u32::try_from(bytes).ok().filter(|bytes| bounds.contains(bytes)).and_then(NonZeroU32::new);
        let (min, max) = (ShowSize(*bounds.start()), ShowSize(*bounds.end()));
        size.map(Self).or_else(|| reader.refuse_range(raw, &format!("a size from {min} to {max}")))
    }

    fn shape(bounds: &RangeInclusive<u32>) -> Shape {
        Shape::Size { min: *bounds.start(), max: *bounds.end() }
    }
}

/// What a size says. More than can be counted is out of every range as well.
fn bytes(text: &str) -> Option<u64> {
    SIZES.iter().find_map(|(unit, size)| {
        let number = text.strip_suffix(unit)?.trim_end();
        let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| number.parse().unwrap_or(u64::MAX).saturating_mul(*size))
    })
}

impl Written for Duration {
    fn written(&self) -> String {
        format!("\"{}\"", Show(*self))
    }
}

impl Written for Size {
    fn written(&self) -> String {
        format!("\"{}\"", ShowSize(self.0.get()))
    }
}
