//! The manual says what the program does: README.md and the pages in docs/ against the program itself.
//!
//! What can be written by a machine stands in a region that begins with `<!-- SUBJECT -->` and ends with `<!-- end -->`, and
//! is compared with what the program has to say of that subject. After a change,
//!
//! ```sh
//! EVENKEEL_BLESS=1 cargo test --features faults --test manual
//! ```
//!
//! writes the regions and the schema anew. What cannot be written by a machine is at least checked: links, examples,
//! commands.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod defaults;
mod examples;
mod keys;
mod links;
mod metrics;
mod pages;
mod reasons;
mod schema;

use pages::{Page, bless, pages};

/// Every region, in every page, says what the program says.
#[test]
fn what_is_written_by_a_machine_is_current() {
    let mut stale = Vec::new();
    let mut found = 0;
    for Page { path, text, .. } in pages() {
        let current = pages::rewrite(&text, |subject| {
            found += 1;
            let render = [keys::render, reasons::render, metrics::render];
            let rendered = render.iter().find_map(|render| render(subject));
            rendered.unwrap_or_else(|| panic!("{}: nobody knows of <!-- {subject} -->", path.display()))
        });
        if current != text {
            stale.extend(bless(&path, &current));
        }
    }
    assert!(found > 10, "only {found} regions found");
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}
