//! The clock through the vDSO.

use rustix::time::{ClockId, clock_gettime};

/// Returns the seconds and nanoseconds of `CLOCK_MONOTONIC`.
pub(super) fn monotonic() -> (u64, u64) {
    let now = clock_gettime(ClockId::Monotonic);
    (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0))
}
