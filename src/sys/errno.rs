//! What the errors of the kernel mean: one table for connects, sessions, datagrams, accepts and probes.
//!
//! The table says what happened. Whose fault that is depends on what was asked, and is decided where it was: an
//! unreachable network is the route of a connect, and the end of a session that had one.

use std::io;

use rustix::io::Errno;

/// What an error of a socket call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The other machine answers, and nobody listens there; or a unix socket has no file.
    Refused,
    /// The other side has ended the connection.
    Reset,
    /// The other side has not answered in time.
    TimedOut,
    /// The other machine, or one on the way to it, says that it cannot be reached; or there is no route.
    Unreachable,
    /// ICMP says "administratively prohibited".
    Prohibited,
    /// A packet filter of this machine forbids it.
    Forbidden,
    /// This process, or the machine, has no descriptors, no memory or no room for another watch.
    Exhausted,
    /// No port is left to send from, or no address.
    NoAddress,
    /// A queue of this machine has no room for a packet.
    QueueFull,
    /// Nothing to read, or no room to write, at this moment. For a connect without a port of its own: no port is left.
    WouldBlock,
    /// A signal came first.
    Interrupted,
    /// The connection was of a kind that is not supported, or broken before it was ours.
    Protocol,
    /// Anything else.
    Other,
}

/// Looks an error up.
pub fn cause(error: &io::Error) -> Cause {
    match Errno::from_io_error(error) {
        Some(errno) => of_errno(errno),
        None => of_kind(error.kind()),
    }
}

fn of_errno(errno: Errno) -> Cause {
    match errno {
        Errno::CONNREFUSED | Errno::NOENT => Cause::Refused,
        Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED | Errno::NOTCONN => Cause::Reset,
        Errno::TIMEDOUT => Cause::TimedOut,
        Errno::HOSTUNREACH
        | Errno::NETUNREACH
        | Errno::HOSTDOWN
        | Errno::NETDOWN
        | Errno::NONET
        | Errno::NOPROTOOPT => Cause::Unreachable,
        Errno::ACCESS => Cause::Prohibited,
        Errno::PERM => Cause::Forbidden,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC => Cause::Exhausted,
        Errno::ADDRNOTAVAIL => Cause::NoAddress,
        Errno::NOBUFS => Cause::QueueFull,
        Errno::AGAIN => Cause::WouldBlock,
        Errno::INTR => Cause::Interrupted,
        Errno::PROTO | Errno::OPNOTSUPP => Cause::Protocol,
        _ => Cause::Other,
    }
}

/// Errors that did not come from the kernel, such as a limit of our own that has passed.
fn of_kind(kind: io::ErrorKind) -> Cause {
    match kind {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::ConnectionReset => Cause::Reset,
        io::ErrorKind::TimedOut => Cause::TimedOut,
        io::ErrorKind::WouldBlock => Cause::WouldBlock,
        io::ErrorKind::OutOfMemory => Cause::Exhausted,
        _ => Cause::Other,
    }
}

/// Whether an error of accept came with one connection that is already gone, as accept(2) lists them, and says nothing of
/// the next one. Whatever else goes wrong would go wrong again at once.
pub fn is_of_one_connection(error: &io::Error) -> bool {
    match cause(error) {
        Cause::Reset
        | Cause::Interrupted
        | Cause::Protocol
        | Cause::Forbidden
        | Cause::TimedOut
        | Cause::Unreachable => true,
        Cause::Refused
        | Cause::Prohibited
        | Cause::Exhausted
        | Cause::NoAddress
        | Cause::QueueFull
        | Cause::WouldBlock
        | Cause::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_resources_is_ours_and_an_aborted_connection_is_not() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::INVAL, Errno::NOTSOCK] {
            assert!(!is_of_one_connection(&errno.into()), "{errno}");
        }
        for errno in [Errno::CONNABORTED, Errno::PROTO, Errno::PERM, Errno::NETUNREACH, Errno::OPNOTSUPP] {
            assert!(is_of_one_connection(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn an_error_of_our_own_is_looked_up_by_its_kind() {
        assert_eq!(cause(&io::ErrorKind::TimedOut.into()), Cause::TimedOut);
        assert_eq!(cause(&Errno::TIMEDOUT.into()), Cause::TimedOut);
        assert_eq!(cause(&io::Error::other("anything")), Cause::Other);
    }
}
