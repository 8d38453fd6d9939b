//! What is asked of a picker.

/// What a pick depends on besides the members.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The moment at which latencies are compared, in milliseconds on a clock that never goes back.
    pub now_ms: u64,
    /// Any word, another one each time; what is left to chance comes from it.
    pub random: u64,
    /// Hash of the client under the policy's `hash_key`; ignored by policies that do not hash.
    pub key: u64,
    /// Members already tried for this session, by position; never picked again.
    pub tried: &'a [u16],
}
