//! What a picker is asked.

/// What a pick depends on besides the members.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The moment at which latencies are compared, in milliseconds on a clock that never goes back.
    pub now_ms: u64,
    /// Any number, another one each time: the seed of whatever is left to chance.
    pub random: u64,
    /// Hash of the client under the policy's `hash_key`; ignored by policies that do not hash.
    pub key: u64,
    /// Members already tried for this session, by position; never picked again.
    pub tried: &'a [u16],
}

impl Request<'_> {
    pub(super) fn has_tried(&self, position: u16) -> bool {
        self.tried.contains(&position)
    }
}
