//! How long a wait spins before it sleeps.

use core::time::Duration;

use rustix::thread::sched_getaffinity;

/// How long a wait spins, which means polling in a loop, before it sleeps. Spinning affects latency
/// only, never the result.
///
/// Sleeping and waking on another CPU takes about 50 µs; a running peer may answer much sooner. If
/// both processes share one CPU, spinning only delays the peer: use
/// [`where_parallel`](Self::where_parallel) to avoid that.
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
    /// The longest time to spin in one wait.
    pub spin: Duration,
}

impl Patience {
    /// Sleeps at once.
    pub const SLEEP: Self = Self { spin: Duration::ZERO };
    /// Spins for about as long as waking from sleep takes.
    pub const SPIN: Self = Self { spin: Duration::from_micros(50) };

    /// Returns `self` if the calling thread may run on two or more CPUs (sched_getaffinity(2)), and
    /// [`SLEEP`](Self::SLEEP) otherwise.
    pub fn where_parallel(self) -> Self {
        // The call fails if there are more CPUs than fit in its set.
        let is_alone = sched_getaffinity(None).is_ok_and(|cpus| cpus.count() < 2);
        if is_alone { Self::SLEEP } else { self }
    }
}
