//! Points in time on the monotonic clock, in nanoseconds.

use core::ops::Add;
use core::time::Duration;

use static_assertions::assert_eq_size;

/// A point in time on the kernel's monotonic clock (`CLOCK_MONOTONIC`, clock_gettime(2)), in
/// nanoseconds. All processes of the machine share this clock. It stops during suspend.
///
/// Arithmetic saturates. The range is 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

assert_eq_size!(Instant, u64);

/// Nanoseconds per second.
const SECOND: u64 = 1_000_000_000;

impl Instant {
    /// A point that never comes. As a deadline it means no timeout.
    pub const NEVER: Self = Self(u64::MAX);

    /// A point that has always passed. A call with this deadline does not wait.
    pub const PAST: Self = Self(0);

    /// The point `nanoseconds` after the start of the clock.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Returns the nanoseconds since the start of the clock.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later than this.
    #[inline(never)]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(feature = "socket")]
impl Instant {
    /// Reads the clock. With the feature `libc` this is the C library's clock_gettime, usually
    /// without a system call (vdso(7)). Without the feature it is a system call, which takes about
    /// 0.1 µs longer.
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
