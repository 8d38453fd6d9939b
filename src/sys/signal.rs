//! The signal mask of a thread.

use std::io;
use std::mem::MaybeUninit;

/// Lets these signals be delivered to the current thread, and to those that it starts from now on. One that came while it was
/// blocked is delivered at once.
///
/// # Errors
/// One of them is no signal.
#[expect(unsafe_code, reason = "nobody offers the signal mask as a safe function")]
pub fn unblock(signals: &[i32]) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer must be valid for writing a set, as that of a local variable of this type is.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    for signal in signals {
        // SAFETY: the pointer must be to a set that is initialised; `sigemptyset` has done so.
        check(unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) })?;
    }
    // SAFETY: as above for the set, which is only read; a null pointer for the old mask says that nobody wants it.
    match unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
