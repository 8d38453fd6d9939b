//! The tables of reasons: why sessions and flows end, why connections and datagrams are refused, why connecting fails.

use evenkeel::metrics::reason::{CloseReason, ConnectErrorReason, DropReason, FlowCloseReason, RefuseReason};

use crate::pages::{pages, table};

const SUBJECTS: [&str; 5] = [
    "reasons of sessions",
    "reasons of flows",
    "reasons of refused connections",
    "reasons of failed attempts to connect",
    "reasons of dropped datagrams",
];

/// The table of the reasons that the subject asks for.
pub(crate) fn render(subject: &str) -> Option<String> {
    let pairs: Vec<(&str, String)> = match subject {
        "reasons of sessions" => return Some(of_sessions()),
        "reasons of flows" => FlowCloseReason::ALL.iter().map(|it| (it.label(), it.meaning())).collect(),
        "reasons of refused connections" => RefuseReason::ALL.iter().map(|it| (it.label(), it.meaning())).collect(),
        "reasons of failed attempts to connect" => {
            ConnectErrorReason::ALL.iter().map(|it| (it.label(), it.meaning())).collect()
        }
        "reasons of dropped datagrams" => DropReason::ALL.iter().map(|it| (it.label(), it.meaning())).collect(),
        _ => return None,
    };
    let row = |(label, meaning): (&str, String)| vec![format!("`{label}`"), meaning];
    Some(table(&["reason", "meaning"], pairs.into_iter().map(row)))
}

fn of_sessions() -> String {
    let row = |reason: &CloseReason| {
        let side = match reason {
            CloseReason::Finished => "the first to end".to_owned(),
            reason => format!("`{}`", reason.side().label()),
        };
        vec![format!("`{}`", reason.label()), side, reason.meaning()]
    };
    table(&["reason", "side", "meaning"], CloseReason::ALL.iter().map(row))
}

#[test]
fn every_reason_is_in_the_manual() {
    let pages = pages();
    let subjects: Vec<&str> = pages.iter().flat_map(|page| page.subjects()).collect();
    for subject in SUBJECTS {
        assert!(subjects.contains(&subject), "<!-- {subject} --> is nowhere");
    }
}
