//! Socket options that neither rustix nor socket2 offers.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// Sets an option whose value is an int.
///
/// # Errors
/// Whatever the kernel refuses.
#[expect(unsafe_code, reason = "setsockopt of these options has no safe wrapper")]
pub(super) fn set(socket: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    const LENGTH: libc::socklen_t = {
        assert!(size_of::<i32>() == 4);
        4
    };
    // SAFETY: the kernel reads `LENGTH` bytes from `value`, which is that long and outlives the call. The descriptor is
    // open for as long as it is borrowed.
    let status =
        unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), LENGTH) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
