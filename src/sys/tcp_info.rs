//! Noticing a peer that is gone while data is on its way to it.
//!
//! The kernel itself gives up after a quarter of an hour, and its keepalive rests while data is outstanding.
//! TCP_USER_TIMEOUT would shorten that, but since Linux 5.11 it also kills a live peer that has not read for that long:
//! a database that waits for a lock in the middle of a COPY, a person at a pager. Such a peer still answers the probes of
//! its closed window, and TCP_INFO shows it.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// With data outstanding, a peer that has acknowledged nothing for this long is lost: seven retransmissions on a local
/// network, four on a slow path.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// Retransmissions, or probes of a closed window, that a lost peer has left unanswered. An answer resets the counts.
const UNANSWERED: u8 = 3;

/// Whether a peer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is on its way to it, so there is nothing to answer. Keepalive watches it.
    NothingAsked,
    /// It may still answer what is on its way.
    Outstanding,
    /// It has stopped answering.
    Lost,
}

/// Whether the peer of a TCP socket answers what was sent to it. Other sockets have nothing to answer.
pub fn answer(socket: impl AsFd) -> Answer {
    read(socket).map_or(Answer::NothingAsked, |info| judge(&info))
}

fn judge(info: &libc::tcp_info) -> Answer {
    let silence = Duration::from_millis(info.tcpi_last_ack_recv.into());
    let is_outstanding = info.tcpi_unacked > 0 || info.tcpi_notsent_bytes > 0;
    let is_ignored = info.tcpi_retransmits >= UNANSWERED || info.tcpi_probes >= UNANSWERED;
    match (is_outstanding, is_ignored && silence >= LOST_AFTER) {
        (false, _) => Answer::NothingAsked,
        (true, false) => Answer::Outstanding,
        (true, true) => Answer::Lost,
    }
}

/// `None` when the socket is not TCP.
#[expect(unsafe_code, reason = "getsockopt(TCP_INFO) has no safe wrapper")]
fn read(socket: impl AsFd) -> Option<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: `info` is writable for `length` bytes, which is its size, and both outlive the call; the kernel writes at
    // most `length` bytes into it. The descriptor is open for as long as it is borrowed.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: every field is an integer, for which zeroes are a valid value; what an older kernel does not fill stays so.
    (status == 0).then(|| unsafe { info.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn info() -> libc::tcp_info {
        let (client, _server) = pair();
        read(&client).expect("a TCP socket")
    }

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("addr")).expect("connect");
        (client, listener.accept().expect("accept").0)
    }

    #[test]
    fn a_dead_peer_is_lost_and_one_that_does_not_read_is_not() {
        let silent = u32::try_from(LOST_AFTER.as_millis()).expect("half a minute");
        let dead = libc::tcp_info { tcpi_unacked: 1, tcpi_retransmits: 7, tcpi_last_ack_recv: silent, ..info() };
        assert_eq!(judge(&dead), Answer::Lost);
        let dead_behind_a_closed_window =
            libc::tcp_info { tcpi_notsent_bytes: 1, tcpi_probes: 3, tcpi_last_ack_recv: silent, ..info() };
        assert_eq!(judge(&dead_behind_a_closed_window), Answer::Lost);
        let not_reading =
            libc::tcp_info { tcpi_notsent_bytes: 1, tcpi_probes: 1, tcpi_last_ack_recv: 4 * silent, ..info() };
        assert_eq!(judge(&not_reading), Answer::Outstanding);
        let idle = libc::tcp_info { tcpi_last_ack_recv: 100 * silent, ..info() };
        assert_eq!(judge(&idle), Answer::NothingAsked);
    }

    #[test]
    fn the_kernel_says_what_is_outstanding() {
        let (mut client, _server) = pair();
        assert_eq!(answer(&client), Answer::NothingAsked);
        client.set_nonblocking(true).expect("nonblocking");
        while client.write(&[0; 65_536]).is_ok() {}
        assert_eq!(answer(&client), Answer::Outstanding);
        let (unix, _peer) = UnixStream::pair().expect("pair");
        assert_eq!(answer(&unix), Answer::NothingAsked);
    }
}
