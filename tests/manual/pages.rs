//! The pages, and the regions in them that are written by a machine.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The line that ends a region.
const END: &str = "<!-- end -->";

/// A page of Markdown.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// A path in the repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// README.md and every page in docs/.
pub(crate) fn pages() -> Vec<Page> {
    let docs =
        fs::read_dir(in_repository("docs")).expect("docs/ is there").map(|entry| entry.expect("readable").path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut paths: Vec<PathBuf> = pages.chain([in_repository("README.md")]).collect();
    assert!(paths.len() > 5, "only {paths:?}");
    paths.sort();
    let read = |path: PathBuf| Page { text: fs::read_to_string(&path).expect("is readable"), path };
    paths.into_iter().map(read).collect()
}

impl Page {
    /// What its fenced blocks of this language contain.
    pub(crate) fn blocks(&self, language: &str) -> Vec<&str> {
        let begin = format!("```{language}\n");
        self.text.split(&*begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
    }

    /// Its lines that are not in fenced blocks.
    pub(crate) fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            is_code ^= line.starts_with("```");
            !is_code
        })
    }

    /// The subjects of its regions.
    pub(crate) fn subjects(&self) -> Vec<&str> {
        self.text.lines().filter_map(subject).collect()
    }
}

/// What begins a region: a comment alone on its line that is not the end of one.
fn subject(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- ")?.strip_suffix(" -->").filter(|_| line != END)
}

/// The text with the regions that `render` gives for their subjects.
pub(crate) fn rewrite(text: &str, mut render: impl FnMut(&str) -> String) -> String {
    let mut rewritten = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        rewritten += &format!("{line}\n");
        if let Some(subject) = subject(line) {
            assert!(lines.any(|line| line == END), "<!-- {subject} --> has no {END}");
            rewritten += &format!("\n{}\n{END}\n", render(subject));
        }
    }
    rewritten
}

/// Writes a file anew if that was asked for; otherwise says what is wrong with it.
pub(crate) fn bless(path: &Path, current: &str) -> Option<String> {
    if env::var_os("EVENKEEL_BLESS").is_some() {
        fs::write(path, current).expect("is writable");
        return None;
    }
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut lines = old.lines().zip(current.lines()).zip(1..);
    let first = lines.find(|((old, current), _)| old != current);
    let difference = match first {
        Some(((old, current), number)) => format!("line {number} is\n{old}\nand should be\n{current}"),
        None => "one is the beginning of the other".to_owned(),
    };
    Some(format!(
        "{} is not what it should be: {difference}\n\n\
         EVENKEEL_BLESS=1 cargo test --features faults --test manual\nwrites it anew",
        path.display()
    ))
}

/// A Markdown table.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| {
        assert!(cells.iter().all(|cell| !cell.contains('|')), "{cells:?} would break the table");
        format!("| {} |\n", cells.join(" | "))
    };
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    format!("{}{rule}{rows}", line(&header))
}
