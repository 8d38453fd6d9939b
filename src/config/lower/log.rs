//! Filter directives of the log: `info`, or `warn,evenkeel::health=debug`.

use super::address::Refusal;
use crate::config::error::{nearest, quote};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The directives without the space around them, once every one of them has a level.
///
/// The filter itself takes a word that is no level for a target and would log all of it: a slip of the pen must not
/// turn logging into that. It takes no space either, which people write after a comma.
pub(in crate::config) fn directives(text: &str) -> Result<String, Refusal> {
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
