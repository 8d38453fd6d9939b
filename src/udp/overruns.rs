//! Datagrams that the kernel has dropped because the receive buffer of a socket was full.

/// The count of one socket, as the kernel last told it (SO_RXQ_OVFL).
#[derive(Debug, Default)]
pub(super) struct Overruns(u32);

impl Overruns {
    /// How many there were since the kernel last told; it tells with each datagram, once there was one.
    pub(super) fn since(&mut self, told: Option<u32>) -> u32 {
        let now = told.unwrap_or(self.0);
        now.wrapping_sub(std::mem::replace(&mut self.0, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_before_is_not_told_again_and_the_count_may_wrap_around() {
        let mut overruns = Overruns::default();
        let told = [None, Some(3), Some(3), None, Some(u32::MAX), Some(1)];
        assert_eq!(told.map(|told| overruns.since(told)), [0, 3, 0, 0, u32::MAX - 3, 2]);
    }
}
