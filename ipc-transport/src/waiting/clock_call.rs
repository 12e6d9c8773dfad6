//! The clock by its system call, for small programs: finding it in the vDSO takes 3 KB of code.

#![expect(unsafe_code, reason = "rustix reads the clock through the vDSO only")]

use syscalls::{Sysno, syscall};

/// `CLOCK_MONOTONIC` (clock_gettime(2)).
const MONOTONIC: usize = 1;

/// Returns the seconds and nanoseconds of the monotonic clock.
pub(super) fn monotonic() -> (u64, u64) {
    // The kernel's `struct timespec`: two words, also of 32 bits, which last for 68 years of uptime.
    let mut timespec = [0_usize; 2];
    // SAFETY: the kernel writes two words to `timespec`, which has room for them. The clock exists
    // on every kernel, so the call does not fail.
    _ = unsafe { syscall!(Sysno::clock_gettime, MONOTONIC, timespec.as_mut_ptr()) };
    let [seconds, nanoseconds] = timespec;
    (seconds as u64, nanoseconds as u64)
}
