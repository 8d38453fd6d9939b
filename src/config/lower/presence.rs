//! Keys that must be there, and keys that must not.

use crate::config::error::{Place, Problem, Problems};
use crate::config::file::Field;

/// Reports a key that is not there and must be. `whose` has no such key; `example` is what to add.
pub(super) fn require<T>(field: &Field<T>, place: Place, whose: &str, example: &str, problems: &mut Problems) {
    if field.is_absent() {
        let message = format!("{whose} has no `{}`", field.key);
        problems.report(Problem::missing(place, message).help(format!("add {example}")));
    }
}

/// Reports a key that is there and means nothing: it is for something else.
pub(super) fn refuse<T>(field: &Field<T>, what_it_is_for: &str, help: &str, problems: &mut Problems) {
    if let Some(given) = field.given() {
        let message = format!("`{}` is for {what_it_is_for}", field.key);
        problems.report(Problem::new(given.place, message).help(help));
    }
}
