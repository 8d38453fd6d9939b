//! Links from page to page lead somewhere.

use std::collections::BTreeSet;
use std::fs;

use crate::pages::{Page, pages};

#[test]
fn relative_links_resolve() {
    let pages = pages();
    let mut broken = Vec::new();
    let mut found = 0;
    for page in &pages {
        for target in page.prose().flat_map(targets).filter(|target| !target.contains("://")) {
            found += 1;
            if !resolves(page, target) {
                broken.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert!(found > 20, "only {found} links found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What the links in a line point at: of `[text](target)` and `![text](target)` the target.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn resolves(page: &Page, target: &str) -> bool {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { page.path.clone() } else { page.path.with_file_name(file) };
    match anchor {
        None => path.exists(),
        Some(anchor) => fs::read_to_string(&path).is_ok_and(|text| anchors(&text).contains(anchor)),
    }
}

/// The anchors of the headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let page = Page { path: "page.md".into(), text: text.to_owned() };
    let headings = page.prose().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn anchors_are_made_of_headings() {
    let anchors = anchors("# How it `compares`\n```sh\n# no heading\n```\n## UDP, too\n");
    assert_eq!(anchors, BTreeSet::from(["how-it-compares".to_owned(), "udp-too".to_owned()]));
}
