//! Durations and sizes as they are written: `"2s"`, `"64KiB"`.

use std::fmt;
use std::time::Duration;

/// A duration in its largest whole unit.
pub(crate) struct Show(pub(crate) Duration);

/// A number of bytes in its largest whole unit.
pub(crate) struct ShowSize(pub(crate) u32);

/// Units of sizes, from the largest to the smallest; no unit is the end of one before it.
pub(super) const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MS: u128 = 1000;
        const UNITS: [(u128, &str); 6] = [
            (86_400_000 * MS, "d"),
            (3_600_000 * MS, "h"),
            (60_000 * MS, "m"),
            (1000 * MS, "s"),
            (MS, "ms"),
            (1, "us"),
        ];
        let micros = self.0.as_micros();
        let (size, unit) = UNITS.into_iter().find(|(size, _)| micros.is_multiple_of(*size)).unwrap_or((1, "us"));
        write!(f, "{}{unit}", micros / size)
    }
}

impl fmt::Display for ShowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u64::from(self.0);
        let (unit, size) = SIZES.into_iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", bytes / size)
    }
}
