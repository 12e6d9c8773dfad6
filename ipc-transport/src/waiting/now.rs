//! Reads the clock. rustix is not used: its vDSO lookup adds 3 KB of code and reads memory that
//! valgrind has unmapped (rustix issue 1559).

#![expect(unsafe_code, reason = "the kernel and the C library write the time through a pointer")]

/// Returns the seconds and nanoseconds of the monotonic clock, through the C library.
#[cfg(feature = "libc")]
pub(super) fn monotonic() -> (u64, u64) {
    let mut timespec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `timespec` is a live value of the type that the call fills in. The clock exists on
    // every kernel, so the call does not fail.
    _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut timespec) };
    (u64::try_from(timespec.tv_sec).unwrap_or(0), u64::try_from(timespec.tv_nsec).unwrap_or(0))
}

/// Returns the seconds and nanoseconds of the monotonic clock, through the system call.
#[cfg(not(feature = "libc"))]
pub(super) fn monotonic() -> (u64, u64) {
    use syscalls::{Sysno, syscall};

    /// `CLOCK_MONOTONIC` (clock_gettime(2)).
    const MONOTONIC: usize = 1;
    // The kernel's `struct timespec`: two words. 32-bit words last for 68 years of uptime.
    let mut timespec = [0_usize; 2];
    // SAFETY: the kernel writes two words to `timespec`, which has room for them. The clock exists
    // on every kernel, so the call does not fail.
    _ = unsafe { syscall!(Sysno::clock_gettime, MONOTONIC, timespec.as_mut_ptr()) };
    let [seconds, nanoseconds] = timespec;
    (seconds as u64, nanoseconds as u64)
}
