//! The time of day. Without rustix, whose search for the vDSO is more code than this saves.

#![expect(unsafe_code, reason = "the kernel writes the time through a pointer")]

use core::time::Duration;

use syscalls::{Sysno, syscall};

/// `CLOCK_REALTIME` (clock_gettime(2)).
const CLOCK: usize = 0;

/// Returns the time since 1970.
pub(crate) fn now() -> Duration {
    // 32-bit seconds end in 2038. This call exists since Linux 5.1.
    #[cfg(target_pointer_width = "32")]
    {
        let mut time = [0_u64; 2];
        // SAFETY: the kernel writes two 64-bit words, for which `time` has room.
        if unsafe { syscall!(Sysno::clock_gettime64, CLOCK, time.as_mut_ptr()) }.is_ok() {
            return since_1970(time);
        }
    }
    let mut time = [0_usize; 2];
    // SAFETY: the kernel writes two words, for which `time` has room. This clock exists on every
    // kernel, so the call does not fail.
    _ = unsafe { syscall!(Sysno::clock_gettime, CLOCK, time.as_mut_ptr()) };
    since_1970(time.map(|word| word as u64))
}

fn since_1970([seconds, nanoseconds]: [u64; 2]) -> Duration {
    // A clock before 1970 counts as 1970.
    let seconds = i64::try_from(seconds).map_or(0, i64::cast_unsigned);
    Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or(0))
}
