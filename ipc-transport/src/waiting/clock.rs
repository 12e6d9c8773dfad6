//! The monotonic clock: points in time as a number of nanoseconds.

use core::ops::Add;
use core::time::Duration;

use static_assertions::assert_eq_size;

/// A point in time on the kernel's monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)), in
/// nanoseconds; the same clock in every process of the machine. It stands still during suspend.
///
/// Arithmetic saturates: the range is 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

assert_eq_size!(Instant, u64);

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

impl Instant {
    /// A point that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// A point that has always passed: as a deadline it lets a call look, and not wait.
    pub const PAST: Self = Self(0);

    /// The point that lies `nanoseconds` after the clock's own beginning.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the nanoseconds since the clock's own beginning.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`, zero where `earlier` is the later one.
    #[inline(never)]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(feature = "socket")]
impl Instant {
    /// Reads the clock: with the feature `libc` by the C library, on most machines without a system
    /// call (vdso(7)); without it by the system call, which takes some 0.1 µs more.
    pub fn now() -> Self {
        let (seconds, nanoseconds) = super::now::monotonic();
        Self(seconds.saturating_mul(SECOND).saturating_add(nanoseconds))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline(never)]
    fn add(self, duration: Duration) -> Self {
        let seconds = duration.as_secs().saturating_mul(SECOND);
        Self(self.0.saturating_add(seconds).saturating_add(duration.subsec_nanos().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::NEVER + Duration::MAX, Instant::NEVER);
        assert_eq!(Instant::PAST.since(Instant::NEVER), Duration::ZERO);
        assert_eq!((Instant::PAST + Duration::from_micros(2)).as_nanoseconds(), 2_000);
    }
}
