//! Random numbers, and the time of a run.

use core::cell::Cell;

use ipc_transport::Instant;

std::thread_local! {
    pub(super) static CLOCK: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn now() -> Instant {
    Instant::from_nanoseconds(CLOCK.get())
}

/// A generator of random numbers (xorshift).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    pub(super) fn len(&mut self, limit: usize) -> usize {
        // Usually short, sometimes as long as allowed.
        let limit = u64::try_from(limit).unwrap();
        let most = if self.below(4) == 0 { limit } else { limit.min(20) };
        usize::try_from(self.below(most + 1)).unwrap()
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
