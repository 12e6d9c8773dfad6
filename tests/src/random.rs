//! Random numbers that can be repeated after a failure.

use std::time::{SystemTime, UNIX_EPOCH};

/// The environment variable that repeats a run: set it to the printed seed.
const SEED: &str = "IPC_TESTS_SEED";

/// Xorshift random numbers, from a different seed in every run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts with the requested seed, or one from the clock, and prints it.
    pub fn new() -> Self {
        let asked = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos());
        let seed = asked.unwrap_or(u64::try_from(clock & 0xffff_ffff).unwrap_or(1));
        println!("repeat with {SEED}={seed}");
        Self::seeded(seed)
    }

    /// Starts with the given seed.
    pub fn seeded(seed: u64) -> Self {
        // From zero, xorshift yields only zeroes.
        Self(seed.max(1))
    }

    /// Returns the next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below the limit, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap_or(u64::MAX)).unwrap_or(0)
    }

    /// Returns true once in `chances` times on average.
    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
