//! Registering descriptors with the runtime.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor whose readiness the current runtime reports. The registration and the descriptor end together.
///
/// # Errors
/// The kernel has no room for another watch. The descriptor is closed then.
#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor must be open and stay the same until the AsyncFd is gone. An OwnedFd is open, its
    // `as_raw_fd` always returns the one number that it owns, and it has just been moved into the AsyncFd, which gives
    // it back only together with the end of the registration.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(|error| error.into_parts().1)
}
