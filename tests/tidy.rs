//! The style of the house as a test over `src/`: floors, circles, purity, sizes, words, `unsafe` and `unwrap`.
//!
//! A rule reads the text of a file and says what is wrong with it; it knows just enough of Rust to skip comments,
//! literals and test code. Every rule is itself tested with a violation that it must find.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;
use source::Source;

/// Lines of a file, tests excluded.
const MAX_FILE_LINES: usize = 450;

/// Half of the files are not longer than this, and nine in ten not longer than the second.
const HALF_OF_FILES_LINES: usize = 150;
const MOST_FILES_LINES: usize = 300;

/// Lines of a function, from its signature to its last brace: a screen.
const MAX_FUNCTION_LINES: usize = 70;

/// Whether a file may do more than compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No tokio, no sockets, no clock, no ambient randomness; imports only pure files.
    Pure,
    /// Anything.
    Shell,
}

use Kind::{Pure, Shell};

/// Modules with their floors; the longest match counts. A file imports from its own floor and lower ones.
const HOUSE: &[(&str, u8, Kind)] = &[
    ("sys", 0, Shell),
    ("hash", 0, Pure),
    ("config", 1, Pure),
    ("metrics", 1, Pure),
    ("balance", 1, Pure),
    ("udp::flow", 1, Pure),
    ("pool", 2, Shell),
    ("pool::backend", 2, Pure),
    ("pool::health", 2, Pure),
    ("local", 2, Shell),
    ("listener", 3, Shell),
    ("tcp", 3, Shell),
    ("udp", 3, Shell),
    ("worker", 3, Shell),
    ("health", 4, Shell),
    ("health::pace", 4, Pure),
    ("health::traffic", 4, Pure),
    ("health::verdict", 4, Pure),
    ("health::verdicts", 4, Pure),
    ("discovery", 4, Shell),
    ("discovery::name", 4, Pure),
    ("control", 4, Shell),
    ("control::desired", 4, Pure),
    ("admin", 5, Shell),
    ("app", 5, Shell),
    ("logging", 5, Shell),
    ("cli", 6, Shell),
    ("demo", 6, Shell),
    ("main", 6, Shell),
    ("lib", 6, Shell),
];

/// What a pure file may not name, as the beginnings of paths.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "hyper_util",
    "socket2",
    "rustix",
    "signal_hook",
    "rand",
    "fastrand",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "Instant::now",
    "std::time::Instant::now",
    "std::hash::RandomState",
    "std::collections::hash_map::RandomState",
    "thread::spawn",
    "fs::read",
    "fs::read_to_string",
];

/// Words that say nothing about what a thing is.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "helpers", "util", "utils"];

/// Metaphors that a reader of this field would need a key for.
const METAPHORS: &[&str] = &[
    "board",
    "book",
    "books",
    "doomed",
    "errand",
    "farewell",
    "house",
    "housekeeping",
    "ledger",
    "loan",
    "lottery",
    "mail",
    "parcel",
    "post",
    "seat",
    "ticket",
];

type Rule = fn(&Source) -> Vec<String>;
const RULES: &[Rule] = &[floors, purity, file_size, function_sizes, unsafety, unwraps, words];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    assert!(files.len() > 10, "only {} files found under {}", files.len(), root.display());
    let mut functions = 0;
    let mut findings = Vec::new();
    for path in files {
        let source = Source::read(&root, &path);
        functions += source.functions().len();
        findings.extend(check(&source));
    }
    assert!(functions > 50, "only {functions} functions found");
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Half of the files below [`HALF_OF_FILES_LINES`], nine in ten below [`MOST_FILES_LINES`].
#[test]
fn files_are_short() {
    let mut lines: Vec<usize> = sources("src").iter().filter(|source| !source.is_test()).map(Source::lines).collect();
    lines.sort_unstable();
    let (half, most) = (lines[lines.len() / 2], lines[lines.len() * 9 / 10]);
    assert!(half <= HALF_OF_FILES_LINES, "half of the files have more than {half} lines");
    assert!(most <= MOST_FILES_LINES, "one in ten files has more than {most} lines");
}

/// No two folders import each other, whichever way round, and no files either.
#[test]
fn imports_form_no_circle() {
    for folder in ["src", "benches/peers"] {
        let sources = sources(folder);
        let imports = Imports::of(sources.iter().filter(|source| !source.is_test()));
        assert!(imports.len() > 20, "only {} imports found in {folder}", imports.len());
        let circles = imports.folder_circles().into_iter().chain(imports.circles());
        let circles: Vec<String> = circles.map(|circle| circle.join(", ")).collect();
        assert!(circles.is_empty(), "in {folder}:\n{}\n", circles.join("\n"));
    }
}

/// All files of a folder of the project.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    rust_files(&root).iter().map(|path| Source::read(&root, path)).collect()
}

/// All files ending in `.rs`, sorted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything that is wrong with one file, once a line; nothing if it is a file of tests.
fn check(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let mut findings: Vec<String> =
        RULES.iter().flat_map(|rule| rule(source)).map(|finding| format!("{}: {finding}", source.name)).collect();
    findings.dedup();
    findings
}

/// The entry of [`HOUSE`] for a path of segments, the longest that matches.
fn place(path: &[String]) -> Option<(&'static str, u8, Kind)> {
    let matches = |module: &str| module.split("::").eq(path.iter().take(module.split("::").count()));
    HOUSE.iter().filter(|(module, ..)| matches(module)).max_by_key(|(module, ..)| module.len()).copied()
}

/// The paths within the crate that a file names, absolute but for `crate`.
fn crate_paths(source: &Source) -> impl Iterator<Item = (usize, Vec<String>)> {
    source.paths().into_iter().filter_map(|(line, path)| {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        match path[0].as_str() {
            "crate" => Some((line, path[1..].to_vec())),
            "super" => {
                let base = &source.module[..source.module.len().saturating_sub(supers)];
                Some((line, [base, &path[supers..]].concat()))
            }
            _ => None,
        }
    })
}

fn floors(source: &Source) -> Vec<String> {
    let Some((_, floor, kind)) = place(&source.module) else {
        let module = source.module.join("::");
        return vec![format!("{module} has no floor: give it one in DESIGN.md, section 2, and in tests/tidy.rs")];
    };
    let mut findings = Vec::new();
    for (line, path) in crate_paths(source) {
        let Some((module, theirs, their_kind)) = place(&path) else { continue };
        if theirs > floor {
            findings.push(format!("line {line}: imports upward, {module} is on floor {theirs} and this is on {floor}"));
        } else if kind == Pure && their_kind == Shell {
            findings.push(format!("line {line}: a pure file imports {module}, which is not"));
        }
    }
    findings
}

fn purity(source: &Source) -> Vec<String> {
    if !place(&source.module).is_some_and(|(_, _, kind)| kind == Pure) {
        return Vec::new();
    }
    let is_impure = |path: &[String]| {
        IMPURE.iter().find(|impure| impure.split("::").eq(path.iter().take(impure.split("::").count())))
    };
    let paths = source.paths();
    let named = paths.iter().filter_map(|(line, path)| Some((line, is_impure(path)?)));
    named.map(|(line, impure)| format!("line {line}: a pure file uses {impure}")).collect()
}

fn file_size(source: &Source) -> Vec<String> {
    let lines = source.lines();
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![format!("{lines} lines without its tests, {MAX_FILE_LINES} is the ceiling")]
}

fn function_sizes(source: &Source) -> Vec<String> {
    let long = source.functions().into_iter().filter(|function| function.lines > MAX_FUNCTION_LINES);
    long.map(|long| {
        format!("line {}: fn {} has {} lines, {MAX_FUNCTION_LINES} fit a screen", long.line, long.name, long.lines)
    })
    .collect()
}

fn unsafety(source: &Source) -> Vec<String> {
    if source.module[0] == "sys" {
        return Vec::new();
    }
    let found = source.words().filter(|(_, word)| *word == "unsafe");
    found.map(|(line, _)| format!("line {line}: unsafe outside src/sys")).collect()
}

fn unwraps(source: &Source) -> Vec<String> {
    source.find(".unwrap()").map(|line| format!("line {line}: unwrap outside tests")).collect()
}

/// No module, type or function is called after a word that fits everything, or after one that stands for another.
fn words(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for segment in &source.module {
        if EMPTY_WORDS.contains(&segment.as_str()) {
            findings.push(format!("a module called {segment} could hold anything"));
        }
    }
    for (line, name) in source.definitions() {
        for part in parts(name) {
            if EMPTY_WORDS.contains(&part.as_str()) {
                findings.push(format!("line {line}: {name}: \"{part}\" does not say what it is"));
            } else if METAPHORS.contains(&part.as_str()) {
                findings.push(format!("line {line}: {name}: \"{part}\" is a metaphor"));
            }
        }
    }
    findings
}

/// The words within a name, in lower case: of `PipeManager` and `pipe_manager` they are `pipe` and `manager`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if letter != '_' {
            parts.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
    }
    parts
}

/// What is found in `text` as the file `name`.
fn findings(name: &str, text: &str) -> Vec<String> {
    check(&Source::new(name, text))
}

#[track_caller]
fn assert_finds(name: &str, text: &str, expected: &str) {
    let findings = findings(name, text);
    assert!(findings.len() == 1 && findings[0].contains(expected), "{text:?} gives {findings:?}, not {expected:?}");
}

#[track_caller]
fn assert_clean(name: &str, text: &str) {
    assert_eq!(findings(name, text), Vec::<String>::new(), "{text:?}");
}

#[test]
fn floors_are_found_wanting() {
    for upward in [
        "use crate::control::phase::Phase;",
        "use crate::{hash, control::Event};",
        "use crate::{\n    hash::hash,\n    pool::{self},\n    admin::{api, wire::{A, B as C}},\n};",
        "fn f() { crate::admin::serve(); }",
        "pub(crate) use crate::health::Prober;",
        "use super::control;",
        "use super::super::admin;",
        "macro_rules! m { () => { $crate::cli::run() } }",
    ] {
        let module = if upward.contains("super::super") { "tcp/splice.rs" } else { "tcp/mod.rs" };
        assert_finds(module, upward, "imports upward");
    }
    assert_finds("hash.rs", "use crate::metrics::Cell;", "imports upward");
    assert_finds("udp/flow.rs", "use super::Batch;", "imports upward");
    assert_clean("udp/mod.rs", "use crate::udp::flow::Table; use crate::pool::snapshot::{self, PoolView};");
    assert_clean("control/mod.rs", "use crate::tcp; use super::pool; use self::phase::Phase; use crate::health;");
    assert_clean("pool/mod.rs", "// use crate::admin;\nconst A: &str = \"crate::admin::x\"; /* crate::cli::x */");
    assert_clean("pool/mod.rs", "#[cfg(test)]\nmod tests { use crate::admin::x; }");
    assert_clean("pool/snapshot/tests.rs", "use crate::admin::x;");
}

#[test]
fn circles_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let sources: Vec<Source> = files.iter().map(|(name, text)| Source::new(name, text)).collect();
        let imports = Imports::of(sources.iter());
        (imports.folder_circles(), imports.circles())
    };
    let tangled = [
        ("tcp/mod.rs", "mod relay;\nuse crate::local::Local; use relay::Relay;"),
        ("tcp/relay.rs", "use super::Socket;"),
        ("local/mod.rs", "use crate::pool::A;"),
        ("pool/mod.rs", "fn f() { crate::tcp::relay::g() }"),
        ("hash.rs", ""),
    ];
    assert_eq!(circles(&tangled), (vec![vec!["local".into(), "pool".into(), "tcp".into()]], vec![]));
    let siblings = [("pool/a.rs", "use super::b::B;"), ("pool/b.rs", "use crate::pool::a::A;"), ("pool/mod.rs", "")];
    assert_eq!(circles(&siblings), (vec![], vec![vec!["pool/a.rs".into(), "pool/b.rs".into()]]));
    let through_tests = [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }")];
    assert_eq!(circles(&through_tests), (vec![], vec![]));
}

#[test]
fn a_file_without_a_floor_is_found() {
    assert_finds("cluster.rs", "", "cluster has no floor");
    assert_finds("cluster/mod.rs", "", "cluster has no floor");
    assert_finds("cluster/peer.rs", "", "cluster::peer has no floor");
}

#[test]
fn impurity_is_found() {
    for (impure, what) in [
        ("use tokio::time::sleep;", "uses tokio"),
        ("async fn f() { tokio::task::yield_now().await }", "uses tokio"),
        ("use std::net::{IpAddr, TcpStream};", "uses std::net::TcpStream"),
        ("use std::{fmt, fs};", "uses std::fs"),
        ("fn f() { std::thread::sleep(d); }", "uses std::thread"),
        ("use std::time::{Duration, SystemTime};", "uses std::time::SystemTime"),
        ("fn f() -> Instant { Instant::now() }", "uses Instant::now"),
        ("fn f() -> u64 { fastrand::u64(..) }", "uses fastrand"),
        ("use crate::sys::splice;", "a pure file imports sys"),
    ] {
        assert_finds("balance/random.rs", impure, what);
    }
    assert_clean("balance/random.rs", "use std::net::{IpAddr, SocketAddr}; use std::time::Instant; use crate::hash;");
    assert_clean("pool/mod.rs", "use std::{fs, thread}; use tokio::net::TcpStream;");
}

#[test]
fn long_files_are_found() {
    let full = "const A: u8 = 1;\n".repeat(MAX_FILE_LINES);
    assert_clean("pool/mod.rs", &full);
    assert_clean("pool/mod.rs", &format!("{full}#[cfg(test)]\nmod tests {{\n{full}}}\n"));
    assert_finds("pool/mod.rs", &format!("{full}const B: u8 = 1;\n"), "451 lines");
}

#[test]
fn long_functions_are_found() {
    let function =
        |lines: usize| format!("impl A {{\n    fn long(&self) {{\n{}    }}\n}}\n", "        g();\n".repeat(lines - 2));
    assert_clean("pool/mod.rs", &function(MAX_FUNCTION_LINES));
    assert_finds("pool/mod.rs", &function(MAX_FUNCTION_LINES + 1), "fn long has 71 lines");
    let braces = "fn f<'a>(a: &'a str) {\n g(\"}\", '}', b'{', r#\"\"}\"#); // }\n}\n";
    assert_clean("pool/mod.rs", &braces.repeat(100));
    assert_clean("pool/mod.rs", &format!("trait A {{\n    fn f(&self);\n{}}}\n", "const A: u8;\n".repeat(100)));
}

#[test]
fn unsafe_unwrap_and_empty_words_are_found() {
    assert_finds("pool/mod.rs", "fn f() { unsafe { g() } }", "line 1: unsafe");
    assert_clean("sys/splice.rs", "fn f() { unsafe { g() } }");
    assert_clean("lib.rs", "#![deny(unsafe_code)]");
    assert_finds("pool/mod.rs", "fn f() {\n    g().unwrap();\n}", "line 2: unwrap");
    assert_clean("pool/mod.rs", "fn f() { g().unwrap_or(1); } // .unwrap()\n#[cfg(test)]\nfn t() { g().unwrap() }");
    assert_finds("pool/util.rs", "", "a module called util");
    assert_finds("pool/mod.rs", "struct PipeManager;", "PipeManager");
    assert_finds("pool/mod.rs", "fn connect_helper() {}", "connect_helper");
    assert_finds("pool/mod.rs", "mod utils;", "utils");
    assert_finds("pool/mod.rs", "struct LoadLedger;", "a metaphor");
    assert_clean("admin/mod.rs", "use hyper_util::rt::TokioIo; fn utility() {}");
}
