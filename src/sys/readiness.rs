//! Registering descriptors with the runtime.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor whose readiness the current runtime reports. The registration and the descriptor end together.
///
/// # Errors
/// The kernel has no room for another watch. The descriptor is closed then.
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    try_watch(fd, interest).map_err(|(error, _)| error)
}

/// As [`watch`]; the descriptor comes back with the error.
///
/// # Errors
/// As there.
#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
pub fn try_watch(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>, (io::Error, OwnedFd)> {
    // SAFETY: the descriptor must be open and stay the same until the AsyncFd is gone. An OwnedFd is open, its
    // `as_raw_fd` always returns the one number that it owns, and it has just been moved into the AsyncFd, which gives
    // it back only together with the end of the registration.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(|error| {
        let (fd, error) = error.into_parts();
        (error, fd)
    })
}
