//! Whose fault it is when a system call on a socket towards a backend fails.

use std::io;

use crate::sys::errno::{Cause, cause};

/// Whether an error of a connected socket is what ICMP said about datagrams sent before. What a firewall of this machine
/// refuses says nothing about the backend.
pub(super) fn is_of_the_backend(error: &io::Error) -> bool {
    matches!(cause(error), Cause::Refused | Cause::Unreachable | Cause::Prohibited)
}

/// Whether a datagram was not sent because too many others are on their way out.
pub(super) fn is_crowded(error: &io::Error) -> bool {
    matches!(cause(error), Cause::WouldBlock | Cause::QueueFull)
}

/// Whether a socket could not be connected for want of something of ours: descriptors, memory, or ports (`WouldBlock`). An
/// address to send from that is missing is no such thing: there may be one for another backend.
pub(super) fn is_ours(error: &io::Error) -> bool {
    matches!(cause(error), Cause::Exhausted | Cause::WouldBlock)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn every_error_is_somebody_s() {
        const NOBODY: [bool; 3] = [false; 3];
        for (errno, expected) in [
            (Errno::CONNREFUSED, [true, false, false]),
            (Errno::HOSTUNREACH, [true, false, false]),
            (Errno::NETUNREACH, [true, false, false]),
            (Errno::HOSTDOWN, [true, false, false]),
            (Errno::NOPROTOOPT, [true, false, false]),
            (Errno::ACCESS, [true, false, false]),
            (Errno::NOBUFS, [false, true, false]),
            // While sending a full buffer, while connecting no free port.
            (Errno::AGAIN, [false, true, true]),
            (Errno::MFILE, [false, false, true]),
            (Errno::NFILE, [false, false, true]),
            (Errno::NOMEM, [false, false, true]),
            (Errno::PERM, NOBODY),
            (Errno::ADDRNOTAVAIL, NOBODY),
            (Errno::MSGSIZE, NOBODY),
        ] {
            let error = io::Error::from(errno);
            assert_eq!([is_of_the_backend(&error), is_crowded(&error), is_ours(&error)], expected, "{error}");
        }
    }
}
