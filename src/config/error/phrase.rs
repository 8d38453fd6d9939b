//! What messages repeat of the file and what they suggest instead.

/// Characters of the file's own text that a message repeats.
pub(super) const MAX_QUOTED: usize = 80;

/// A piece of the file as a message repeats it: on one line, of bounded length, in backticks.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(MAX_QUOTED).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        quoted.push_str("...");
    }
    format!("`{quoted}`")
}

/// "did you mean", if `written` is close to one of `candidates`.
pub(crate) fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The candidate that is a few edits away from `written`: a third of its length, at least one.
pub(crate) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = written.to_ascii_lowercase().replace('_', "-");
    candidates
        .into_iter()
        // The distance is at least the difference in length, and computing it takes the product of the lengths.
        .filter(|candidate| candidate.len().abs_diff(folded.len()) <= edits_allowed(candidate))
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&folded, &candidate.to_ascii_lowercase().replace('_', "-"));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= edits_allowed(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn edits_allowed(candidate: &str) -> usize {
    (candidate.len() / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_forgives_a_few_edits_and_not_more() {
        let keys = ["policy", "connect_timeout", "tcp"];
        assert_eq!(nearest("polcy", keys), Some("policy"));
        assert_eq!(nearest("connect-timeout", keys), Some("connect_timeout"));
        assert_eq!(nearest("TCP", keys), Some("tcp"));
        assert_eq!(nearest("tpc", keys), Some("tcp"));
        assert_eq!(nearest("udp", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn quotes_are_bounded_and_on_one_line() {
        assert_eq!(quote("a\nb"), "`a\\nb`");
        assert_eq!(quote(&"x".repeat(200)).len(), MAX_QUOTED + "``...".len());
    }
}
