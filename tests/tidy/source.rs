//! A Rust file as the rules see it: without comments, literals and test code, with every line where it was.

use std::fs;
use std::path::Path;

/// One file of `src/`.
pub(crate) struct Source {
    /// Its path under `src/`.
    pub(crate) name: String,
    /// The path of its module, without `crate`: `["udp", "flow"]`.
    pub(crate) module: Vec<String>,
    /// Its code: what was left out is blank.
    code: String,
}

/// One function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// From the signature to the last brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Reads the file at `path`, which is under `root`.
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let name = path.strip_prefix(root).expect("path is under root").to_str().expect("file names are UTF-8");
        Self::new(name, &fs::read_to_string(path).expect("the file is readable"))
    }

    /// A file called `name` that contains `text`.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = path.split('/').map(str::to_owned).collect();
        Self { name: name.to_owned(), module, code: without_tests(without_literals(text)) }
    }

    /// Whether all of it is test code.
    pub(crate) fn is_test(&self) -> bool {
        self.module.iter().any(|segment| segment == "tests")
    }

    /// Lines up to the end of what is not test code.
    pub(crate) fn lines(&self) -> usize {
        self.code.trim_end().lines().count()
    }

    /// The lines on which `needle` is found.
    pub(crate) fn find(&self, needle: &str) -> impl Iterator<Item = usize> {
        self.code.match_indices(needle).map(|(at, _)| self.line_of(at))
    }

    /// Every identifier and keyword with its line.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        self.word_places().into_iter().map(|(at, word)| (self.line_of(at), word))
    }

    /// The names of modules, types, traits and functions defined here.
    pub(crate) fn definitions(&self) -> Vec<(usize, &str)> {
        let words: Vec<_> = self.words().collect();
        let defines = |word: &str| ["mod", "struct", "enum", "trait", "type", "fn"].contains(&word);
        words.windows(2).filter(|pair| defines(pair[0].1)).map(|pair| pair[1]).collect()
    }

    /// Every function with a body; closures count as part of the function around them.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let words = self.word_places();
        let mut functions = Vec::new();
        for pair in words.windows(2) {
            let [(at, "fn"), (_, name)] = pair else { continue };
            let Some(end) = item_end(&self.code[*at..]) else { continue };
            if self.code[*at..*at + end + 1].ends_with('}') {
                let lines = self.code[*at..at + end].matches('\n').count() + 1;
                functions.push(Function { name: (*name).to_owned(), line: self.line_of(*at), lines });
            }
        }
        functions
    }

    /// Every path of two segments or more with its line, `use` trees taken apart and single names imported as one
    /// segment left out.
    pub(crate) fn paths(&self) -> Vec<(usize, Vec<String>)> {
        let mut paths = Vec::new();
        let mut seen = 0;
        for (at, _) in self.word_places() {
            let continues = self.code[..at].ends_with("::");
            if at < seen || continues {
                continue;
            }
            let mut found = Vec::new();
            let mut tree = Tree { text: &self.code[at..], at: 0 };
            tree.read(&[], &mut found);
            seen = at + tree.at;
            paths.extend(found.into_iter().filter(|path| path.len() > 1).map(|path| (self.line_of(at), path)));
        }
        paths
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    fn word_places(&self) -> Vec<(usize, &str)> {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let mut words = Vec::new();
        let mut rest = 0;
        while let Some(start) = self.code[rest..].find(is_word).map(|found| rest + found) {
            let end = self.code[start..].find(|letter| !is_word(letter)).map_or(self.code.len(), |found| start + found);
            words.push((start, &self.code[start..end]));
            rest = end;
        }
        words
    }
}

/// A reader of paths such as `a::{b, c::{d as e, self}, f::*}`.
struct Tree<'a> {
    text: &'a str,
    at: usize,
}

impl Tree<'_> {
    /// Reads one path or tree and appends what it names, each behind `prefix`.
    fn read(&mut self, prefix: &[String], paths: &mut Vec<Vec<String>>) {
        if self.eat("{") {
            while !self.eat("}") {
                let before = self.at;
                self.read(prefix, paths);
                self.eat(",");
                if self.at == before {
                    return;
                }
            }
            return;
        }
        let word = self.word();
        if word.is_empty() {
            if self.eat("*") {
                paths.push(prefix.to_vec());
            }
            return;
        }
        let mut path = prefix.to_vec();
        // `a::{self}` names `a`, while `self::a` begins at this module.
        if word != "self" {
            path.push(word);
        }
        let before = self.at;
        if self.eat("::") {
            if self.peek(|next| next == '{' || next == '*' || next.is_alphabetic() || next == '_') {
                return self.read(&path, paths);
            }
            self.at = before;
        }
        paths.push(path);
        if !prefix.is_empty() && self.eat("as ") {
            self.word();
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.text[self.at..].trim_start();
        let found = rest.starts_with(token);
        if found {
            self.at = self.text.len() - rest.len() + token.len();
        }
        found
    }

    fn peek(&self, expected: impl Fn(char) -> bool) -> bool {
        self.text[self.at..].trim_start().starts_with(expected)
    }

    fn word(&mut self) -> String {
        let rest = self.text[self.at..].trim_start();
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        if end > 0 {
            self.at = self.text.len() - rest.len() + end;
        }
        rest[..end].to_owned()
    }
}

/// Blanks comments and the contents of string and character literals.
fn without_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let follows_word = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let end = if follows_word && letter != '"' && letter != '\'' { None } else { literal_end(rest) };
        let length = end.unwrap_or(letter.len_utf8());
        match end {
            Some(_) => code.extend(rest[..length].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' })),
            None => code.push(letter),
        }
        rest = &rest[length..];
    }
    code
}

/// The length of the comment or literal that `text` begins with.
fn literal_end(text: &str) -> Option<usize> {
    let until = |start: usize, end: &str| text[start..].find(end).map_or(text.len(), |at| start + at + end.len());
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(until(2, "*/"));
    }
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r'));
    if let Some(quoted) = raw {
        let hashes = quoted.bytes().take_while(|byte| *byte == b'#').count();
        let start = text.len() - quoted.len() + hashes + 1;
        return quoted[hashes..].starts_with('"').then(|| until(start, &format!("\"{}", "#".repeat(hashes))));
    }
    if text.starts_with('"') {
        return Some(escaped_end(text, '"'));
    }
    // A quote that is not closed after one character or escape begins a lifetime.
    let character = text.strip_prefix('\'')?;
    let second = character.chars().nth(1)?;
    (character.starts_with('\\') || second == '\'').then(|| escaped_end(text, '\''))
}

/// The length of a literal that `quote` begins and ends, backslashes seen.
fn escaped_end(text: &str, quote: char) -> usize {
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Blanks the items that only tests see.
fn without_tests(mut code: String) -> String {
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let body = start + MARK.len();
        let end = item_end(&code[body..]).map_or(code.len(), |end| body + end + 1);
        let blank: String = code[start..end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// Where the item that `code` begins with ends: at its `;` or at the brace that closes its first one.
fn item_end(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, letter) in code.char_indices() {
        match letter {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at);
                }
            }
            ';' if braces == 0 && brackets == 0 => return Some(at),
            _ => {}
        }
    }
    None
}
