//! Reading what the balancer exports at `/metrics`, over the plain HTTP of its admin address.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A scrape that takes longer than this has not been answered.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One scrape.
#[derive(Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// An answer of the admin address.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// A connection to the admin address that stays open between requests: it needs no further descriptor over there.
#[derive(Debug)]
pub struct HttpClient(TcpStream);

impl Metrics {
    /// Reads the text format.
    ///
    /// # Panics
    /// When a line is neither a comment nor a sample.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(Sample::parse).collect() }
    }

    /// The value of the one sample with this name and these labels, among others.
    ///
    /// # Panics
    /// When there is none, or more than one.
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found: Vec<f64> = self.matching(name, labels).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?} should be one sample, of {:#?}", self.samples);
        found[0]
    }

    /// The sum over every sample with this name and these labels, among others; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = f64> + 'a {
        let wanted = move |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        self.samples.iter().filter(wanted).map(|sample| sample.value)
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("not a value: {line}"));
        let (name, labels) = match series.split_once('{') {
            None => (series, BTreeMap::new()),
            Some((name, rest)) => (name, parse_labels(rest.trim_end_matches('}'))),
        };
        Self { name: name.to_owned(), labels, value }
    }
}

/// `key="value",key="value"`, where no value that tests use has an escape in it.
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    text.split_terminator("\",")
        .map(|pair| {
            let (key, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("not labels: {text}"));
            (key.to_owned(), value.trim_end_matches('"').to_owned())
        })
        .collect()
}

impl HttpClient {
    /// Connects.
    pub fn connect(admin: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&admin, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self(stream))
    }

    /// Asks for `path` and reads the whole answer.
    pub fn get(&mut self, path: &str) -> std::io::Result<Response> {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(response) = Response::parse(&answer) {
                return Ok(response);
            }
            match self.0.read(&mut chunk)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

impl Response {
    /// The answer, once all of it is there.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().filter_map(|line| line.split_once(": ")).find_map(|(name, value)| {
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        let body = match length {
            Some(length) => rest.get(..length)?.to_owned(),
            None => unchunk(rest)?,
        };
        Some(Self { status, body })
    }
}

/// The body out of its chunks, once the last one is there.
fn unchunk(mut text: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, rest) = text.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..length)?);
        // The chunk is closed by a line end of its own.
        text = rest.get(length + 2..)?;
    }
}
