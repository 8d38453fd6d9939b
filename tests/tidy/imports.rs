//! Who imports whom: files as the nodes of a graph, and the circles in it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// The imports among the files of one crate, by module.
pub(crate) struct Imports {
    modules: BTreeMap<Vec<String>, Node>,
}

struct Node {
    name: String,
    /// Modules that it imports from.
    imports: BTreeSet<Vec<String>>,
}

impl Imports {
    /// Reads the imports of `files`. The root of the crate, which only names its modules, imports nothing.
    pub(crate) fn of<'a>(files: impl Iterator<Item = &'a Source>) -> Self {
        let files: Vec<&Source> = files.filter(|file| !matches!(file.module[0].as_str(), "lib" | "main")).collect();
        let known: BTreeSet<&[String]> = files.iter().map(|file| &file.module[..]).collect();
        let node = |file: &&Source| {
            let imports = absolute_paths(file, &known).filter_map(|path| file_of(&path, &known));
            // What a folder's own `mod.rs` has for the files in it is theirs, too.
            let imports = imports.filter(|module| !file.module.starts_with(module)).collect();
            (file.module.clone(), Node { name: file.name.clone(), imports })
        };
        Self { modules: files.iter().map(node).collect() }
    }

    /// How many imports there are.
    pub(crate) fn len(&self) -> usize {
        self.modules.values().map(|node| node.imports.len()).sum()
    }

    /// The circles among files, each as the names of its files.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let next = |module: &Vec<String>| self.modules[module].imports.clone();
        circles(self.modules.keys().cloned(), next)
            .into_iter()
            .map(|circle| circle.iter().map(|module| self.modules[module].name.clone()).collect())
            .collect()
    }

    /// The circles among the folders of the top, each as their names.
    pub(crate) fn folder_circles(&self) -> Vec<Vec<String>> {
        let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, node) in &self.modules {
            let theirs = node.imports.iter().map(|import| import[0].clone()).filter(|folder| *folder != module[0]);
            folders.entry(module[0].clone()).or_default().extend(theirs);
        }
        circles(folders.keys().cloned(), |folder: &String| folders[folder].clone())
    }
}

/// The paths within the crate that a file names, from the root of the crate on.
fn absolute_paths(file: &Source, known: &BTreeSet<&[String]>) -> impl Iterator<Item = Vec<String>> {
    file.paths().into_iter().filter_map(|(_, path)| {
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        if path[0] == "crate" {
            return Some(path[1..].to_vec());
        }
        if supers > 0 {
            let base = &file.module[..file.module.len().saturating_sub(supers)];
            return Some([base, &path[supers..]].concat());
        }
        // A module below this one, by its name alone.
        let below = [&file.module[..], &path[..1]].concat();
        known.contains(&below[..]).then(|| [&file.module[..], &path[..]].concat())
    })
}

/// The module of the file that defines what `path` names: the longest that it begins with.
fn file_of(path: &[String], known: &BTreeSet<&[String]>) -> Option<Vec<String>> {
    (1..=path.len()).rev().map(|length| &path[..length]).find(|module| known.contains(module)).map(<[_]>::to_vec)
}

/// Groups of nodes that reach each other, of two or more.
fn circles<T: Ord + Clone>(nodes: impl Iterator<Item = T>, next: impl Fn(&T) -> BTreeSet<T>) -> Vec<Vec<T>> {
    let nodes: Vec<T> = nodes.collect();
    let reached: BTreeMap<&T, BTreeSet<T>> = nodes.iter().map(|node| (node, reach(node, &next))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for node in &nodes {
        if seen.contains(node) || !reached[node].contains(node) {
            continue;
        }
        let circle: Vec<T> = nodes
            .iter()
            .filter(|other| reached[node].contains(other) && reached[other].contains(node))
            .cloned()
            .collect();
        seen.extend(circle.iter().cloned());
        circles.push(circle);
    }
    circles
}

/// Everything that can be reached from a node in one step or more.
fn reach<T: Ord + Clone>(from: &T, next: &impl Fn(&T) -> BTreeSet<T>) -> BTreeSet<T> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<T> = next(from).into_iter().collect();
    while let Some(node) = left.pop() {
        if reached.insert(node.clone()) {
            left.extend(next(&node));
        }
    }
    reached
}
