//! Filter directives of the log: `info`, or `warn,evenkeel::health=debug`.

use std::borrow::Cow;

use super::keys::{Shape, Text};
use super::read::{Raw, Read, Reader, Refusal, Written};
use crate::config::error::{nearest, quote};

/// Directives without space, each of which has a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogFilter(pub(crate) Cow<'static, str>);

/// Why something is no list of log directives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", help.as_ref().map_or_else(String::new, |help| format!(": {help}")))]
pub struct BadLogFilter {
    message: String,
    help: Option<String>,
}

/// Filter directives from elsewhere than the file, held to the same rule as the key `log`; without space in the answer.
///
/// # Errors
/// The first directive that is none.
pub fn log_filter(text: &str) -> Result<String, BadLogFilter> {
    directives(text).map_err(|(message, help)| BadLogFilter { message, help })
}

impl Read for LogFilter {
    fn read(raw: Raw<'_>, (): &(), reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(raw, directives).map(|directives| Self(directives.into()))
    }

    fn shape((): &()) -> Shape {
        Shape::Text(Text { what: "levels", pattern: None })
    }
}

impl Written for LogFilter {
    fn written(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The directives without the space around them, once every one of them has a level.
///
/// The filter itself takes a word that is no level for a target and would log all of it, so a misspelt level would
/// switch on every record. It takes no space either, which people write after a comma.
fn directives(text: &str) -> Result<String, Refusal> {
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    directives.iter().copied().try_for_each(directive)?;
    Ok(directives.join(","))
}

fn directive(text: &str) -> Result<(), Refusal> {
    let (target, level) = text.rsplit_once('=').map_or((None, text), |(target, level)| (Some(target), level));
    if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
        let help = match nearest(level, LEVELS) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("levels are {}; for one part of the program `TARGET=LEVEL`", LEVELS.join(", ")),
        };
        return Err((format!("{} is not a log level", quote(level)), Some(help)));
    }
    let is_target = |target: &str| {
        !target.is_empty() && target.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
    };
    match target {
        Some(target) if !is_target(target) => {
            Err((format!("{} is not a log target", quote(target)), Some("such as `evenkeel::health`".to_owned())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_need_a_level_each() {
        for good in ["info", "OFF", "warn,evenkeel::health=debug", "info,access=off"] {
            assert_eq!(directives(good).as_deref(), Ok(good));
        }
        assert_eq!(directives(" info ,\taccess=off ").as_deref(), Ok("info,access=off"));
        for bad in ["", "inof", "evenkeel", "info,", "a b=info", "=info", ".a=info", "evenkeel=", "evenkeel=loud"] {
            assert!(directives(bad).is_err(), "{bad}");
        }
    }
}
