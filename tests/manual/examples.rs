//! Every configuration in the manual and in conf/ is one, to the program and to an editor.

use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use evenkeel::config::{Config, Machine};

use crate::pages::{in_repository, pages};

/// A modest machine.
pub(crate) const MACHINE: Machine =
    Machine { descriptor_limit: 16_384, ephemeral_ports: 28_232, cpus: NonZeroUsize::new(8).expect("8 is not 0") };

/// A text that is a configuration, and where it stands.
pub(crate) struct Example {
    pub(crate) origin: String,
    pub(crate) text: String,
}

/// The files in conf/, by path.
pub(crate) fn files() -> Vec<(PathBuf, String)> {
    let files =
        fs::read_dir(in_repository("conf")).expect("conf/ is there").map(|entry| entry.expect("readable").path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.map(|path| (path.clone(), fs::read_to_string(path).expect("is readable"))).collect()
}

/// The files in conf/ and the examples of the manual.
pub(crate) fn examples() -> Vec<Example> {
    let files = files().into_iter().map(|(path, text)| Example { origin: path.display().to_string(), text });
    let mut examples: Vec<Example> = files.collect();
    for page in pages() {
        let origin = page.path.display().to_string();
        let blocks = page.blocks("toml").into_iter();
        examples.extend(blocks.map(|block| Example { origin: origin.clone(), text: block.to_owned() }));
    }
    assert!(examples.len() >= 8, "only {} examples found", examples.len());
    examples
}

#[test]
fn every_example_is_valid() {
    for Example { origin, text } in examples() {
        Config::parse(&origin, &text, &MACHINE).unwrap_or_else(|errors| panic!("{errors}"));
    }
}
