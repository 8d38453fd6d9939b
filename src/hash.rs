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

#[cfg(test)]
mod tests {
    use super::hash;

    /// A change here moves every client of every hashing policy at the next upgrade.
    #[test]
    fn golden_vectors() {
        let long: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for (bytes, seed, expected) in [
            // The sanity tests of xxHash itself have these two.
            (&b""[..], 0, 0x2d06_8005_38d3_94c2),
            (b"", 0x9e37_79b1_85eb_ca8d, 0xa8a6_b918_b2f0_364a),
            // The reference implementation says these; the lengths take different paths through the algorithm.
            (b"10.0.0.11:5432", 0, 0x2c28_d4f1_e866_b49d),
            (b"10.0.0.11:5432", 1, 0x0042_7713_ff78_b281),
            (&[10, 0, 0, 11], 0, 0xee31_f391_d70b_ca27),
            (&long, 0, 0xd33d_d80b_46f6_0e50),
        ] {
            assert_eq!(hash(bytes, seed), expected, "{} bytes, seed {seed}", bytes.len());
        }
    }
}
