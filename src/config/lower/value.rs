//! Single values: bounds, defaults, and words out of a list.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use super::Lowering;
use super::address::Refusal;
use crate::config::error::{Place, Problem, did_you_mean, quote};
use crate::config::read::{At, Field};

/// The clock of the workers ticks in milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// Of the names of listeners, pools and backends: they are labels of metrics and words of a command line.
const MAX_NAME: usize = 64;

impl Lowering<'_> {
    /// A number from 1 to `max`, which fits a `T`.
    pub(super) fn count<T: TryFrom<NonZeroU64>>(&mut self, field: &Field<i64>, max: u32, default: T) -> T {
        self.given_count(field, max).unwrap_or(default)
    }

    /// A number from 1 to `max`, which fits a `T`, if the file has it.
    pub(super) fn given_count<T: TryFrom<NonZeroU64>>(&mut self, field: &Field<i64>, max: u32) -> Option<T> {
        let given = self.within(field, 1, i64::from(max))?;
        NonZeroU64::new(given.unsigned_abs())?.try_into().ok()
    }

    /// A number between two bounds, if the file has it.
    pub(super) fn within(&mut self, field: &Field<i64>, min: i64, max: i64) -> Option<i64> {
        let given = field.given()?;
        if (min..=max).contains(&given.value) {
            return Some(given.value);
        }
        let message = format!("`{}` is out of range", field.key);
        let help = format!("`{}` is a number from {min} to {max}", field.key);
        self.problems.report(Problem::new(given.place, message).help(help));
        None
    }

    /// A duration from a millisecond to `longest`.
    pub(super) fn duration(&mut self, field: &Field<Duration>, longest: Duration, default: Duration) -> Duration {
        self.given_duration(field, SHORTEST, longest).unwrap_or(default)
    }

    /// A duration between two bounds, if the file has it.
    pub(super) fn given_duration(
        &mut self,
        field: &Field<Duration>,
        shortest: Duration,
        longest: Duration,
    ) -> Option<Duration> {
        let given = field.given()?;
        if (shortest..=longest).contains(&given.value) {
            return Some(given.value);
        }
        let message = format!("`{}` is out of range", field.key);
        let help = format!("`{}` is a duration from {} to {}", field.key, Show(shortest), Show(longest));
        self.problems.report(Problem::new(given.place, message).help(help));
        None
    }

    /// One word of a list.
    pub(super) fn choice<T: Copy>(&mut self, field: &Field<String>, choices: &[(&str, T)], default: T) -> T {
        self.given_choice(field, choices).unwrap_or(default)
    }

    /// One word of a list, if the file has it.
    pub(super) fn given_choice<T: Copy>(&mut self, field: &Field<String>, choices: &[(&str, T)]) -> Option<T> {
        let given = field.given()?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == given.value) {
            return Some(*choice);
        }
        let words = || choices.iter().map(|(word, _)| *word);
        let help = did_you_mean(&given.value, words()).unwrap_or_else(|| {
            let words: Vec<String> = words().map(|word| format!("`{word}`")).collect();
            format!("`{}` is {}", field.key, words.join(" or "))
        });
        let message = format!("`{}` cannot be {}", field.key, quote(&given.value));
        self.problems.report(Problem::new(given.place, message).help(help));
        None
    }

    /// A string that `parse` makes sense of, if the file has it.
    pub(super) fn parsed<T>(
        &mut self,
        field: &Field<String>,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Option<T> {
        self.understand(field.given()?, parse)
    }

    /// A string that `parse` makes sense of.
    pub(super) fn understand<T>(
        &mut self,
        text: &At<String>,
        parse: impl FnOnce(&str) -> Result<T, Refusal>,
    ) -> Option<T> {
        let (message, help) = match parse(&text.value) {
            Ok(value) => return Some(value),
            Err(refusal) => refusal,
        };
        let problem = Problem::new(text.place, message);
        self.problems.report(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
        None
    }

    /// Reports a key that is not there and must be.
    pub(super) fn require<T>(&mut self, field: &Field<T>, place: Place, whose: &str, example: &str) {
        if field.is_absent() {
            let message = format!("{whose} has no `{}`", field.key);
            self.problems.report(Problem::missing(place, message).help(format!("add {example}")));
        }
    }

    /// Reports a name that could not be typed on a command line or would spoil a metric.
    pub(super) fn check_name(&mut self, name: &At<String>) {
        let is_sane = (1..=MAX_NAME).contains(&name.value.len())
            && name.value.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'));
        if !is_sane {
            let message = format!("{} is not a name", quote(&name.value));
            let help =
                format!("a name is up to {MAX_NAME} letters, digits, `-`, `_`, `.` and `:`, a letter or digit first");
            self.problems.report(Problem::new(name.place, message).help(help));
        }
    }
}

/// A duration in its largest whole unit, as the file would have it.
pub(super) struct Show(pub(super) Duration);

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
