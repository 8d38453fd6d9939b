//! Bytes that can be checked: made from a seed, hashed where they leave and where they arrive.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use fastrand::Rng;
use sha2::{Digest, Sha256};

/// What arrived or left: how much, and its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Digested {
    /// Number of bytes.
    pub bytes: u64,
    /// Their hash.
    pub hash: [u8; 32],
}

/// Hashes a stream as it passes.
#[derive(Debug, Default)]
pub struct Digester {
    bytes: u64,
    hash: Sha256,
}

/// An endless stream of bytes that a seed decides.
#[derive(Debug)]
pub struct Stream {
    rng: Rng,
    digester: Digester,
}

impl Digester {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
    }

    /// The digest of everything taken.
    pub fn finish(self) -> Digested {
        Digested { bytes: self.bytes, hash: self.hash.finalize().into() }
    }
}

impl Stream {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), digester: Digester::default() }
    }

    /// Overwrites `buffer` with the next bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.rng.fill(buffer);
        self.digester.update(buffer);
    }

    /// The digest of everything taken from the stream.
    pub fn finish(self) -> Digested {
        self.digester.finish()
    }
}

/// Sends `bytes` bytes of the stream of `seed` and returns their digest.
pub fn send(mut to: &TcpStream, seed: u64, bytes: usize) -> io::Result<Digested> {
    let mut stream = Stream::new(seed);
    let mut buffer = vec![0; 128 * 1024];
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(buffer.len());
        stream.fill(&mut buffer[..chunk]);
        to.write_all(&buffer[..chunk])?;
        left -= chunk;
    }
    Ok(stream.finish())
}

/// Reads to the clean end of the stream and returns the digest.
pub fn receive(mut from: &TcpStream) -> io::Result<Digested> {
    let mut digester = Digester::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(digester.finish()),
            count => digester.update(&buffer[..count]),
        }
    }
}

/// Short enough to read when two of them differ.
impl std::fmt::Debug for Digested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.hash;
        write!(f, "{} bytes, SHA-256 {a:02x}{b:02x}{c:02x}{d:02x}...", self.bytes)
    }
}
