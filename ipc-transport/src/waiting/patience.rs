//! How long a wait looks again and again before it sleeps.

use core::time::Duration;

use rustix::thread::sched_getaffinity;

/// How long a wait looks again and again (spins) before it sleeps. It changes when an answer
/// comes, never which.
///
/// To sleep and be woken on another CPU takes some 50 µs, in which a peer that is running has
/// long answered. Where both share one CPU, spinning only takes the peer's time away, so ask for
/// it by [`where_parallel`](Self::where_parallel).
///
/// ```
/// use ipc_transport::{Patience, Stream, Transport};
///
/// let patience = Patience::SPIN.where_parallel();
/// let (mut left, mut right) = Stream::pair()?;
/// left.send(&[b"hello"])?;
/// assert_eq!(right.blocking().with(patience).receive(&mut [0; 8])?, Some(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The longest that is spun in one wait.
    pub spin: Duration,
}

impl Patience {
    /// Sleeps at once.
    pub const SLEEP: Self = Self { spin: Duration::ZERO };
    /// Spins for about as long as a sleeper needs to wake.
    pub const SPIN: Self = Self { spin: Duration::from_micros(50) };

    /// Returns this where the calling thread may run on two CPUs or more
    /// (sched_getaffinity(2)), and [`SLEEP`](Self::SLEEP) where it may not.
    pub fn where_parallel(self) -> Self {
        // The call fails where there are more CPUs than its set has room for.
        let is_alone = sched_getaffinity(None).is_ok_and(|cpus| cpus.count() < 2);
        if is_alone { Self::SLEEP } else { self }
    }
}
