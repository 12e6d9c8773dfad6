//! What a worker's main side counts, so that nothing goes by in silence.

use crate::call::Why;

/// Counts since the start, which stop at their largest value:
/// [`Worker::counters`](crate::Worker::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were not taken since there was no room: [`Why::Full`].
    pub full: u64,
    /// Requests that were not taken since they are too long: [`Why::TooLong`].
    pub too_long: u64,
    /// Requests that were not taken since they have too many descriptors: [`Why::TooManyFds`].
    pub too_many_fds: u64,
    /// Requests that were not taken for want of a descriptor: [`Why::NoFdLeft`].
    pub no_fd_left: u64,
    /// Requests that were not taken since there is no worker any more: [`Why::Stopped`].
    pub stopped: u64,
    /// Requests that were not taken since their message cannot be written: [`Why::Unencodable`].
    pub unencodable: u64,
    /// Frames that answer no request under way: late answers, and forged ones.
    pub stray_replies: u64,
    /// Descriptors that came with such frames and were closed.
    pub stray_fds: u64,
    /// One-way requests that were lost with a worker, or with the last one.
    pub one_ways_lost: u64,
    /// One-way requests whose deadline passed before they were done.
    pub one_ways_expired: u64,
    /// One-way requests that the handler has refused.
    pub one_ways_refused: u64,
    /// How often the worker was made to say that one-way requests are done.
    pub one_ways_told: u64,
}

impl Counters {
    /// Counts a request that was not taken.
    pub(crate) const fn not_taken(&mut self, why: Why) {
        let count = match why {
            Why::Full => &mut self.full,
            Why::TooLong { .. } => &mut self.too_long,
            Why::TooManyFds { .. } => &mut self.too_many_fds,
            Why::NoFdLeft(_) => &mut self.no_fd_left,
            Why::Stopped => &mut self.stopped,
            Why::Unencodable => &mut self.unencodable,
        };
        add(count, 1);
    }
}

/// Adds to a count, which stops at its largest value.
pub(crate) const fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}
