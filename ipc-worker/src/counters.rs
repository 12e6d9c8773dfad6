//! Counters of main's side of a worker: failed requests and frames, protocol violations, kills and
//! waits.

use crate::call::Why;

/// Counters since the start. They saturate. See
/// [`Worker::counters`](crate::Worker::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests rejected because there was no room: [`Why::Full`].
    pub full: u64,
    /// Requests rejected because they were too long, or because they need a block and the worker
    /// has none: [`Why::TooLong`], [`Why::NoBlocks`].
    pub too_long: u64,
    /// Requests rejected because they had too many descriptors: [`Why::TooManyFds`].
    pub too_many_fds: u64,
    /// Requests rejected because a descriptor could not be duplicated: [`Why::NoFdLeft`].
    pub no_fd_left: u64,
    /// Requests rejected because no worker was left: [`Why::Stopped`].
    pub stopped: u64,
    /// Requests rejected because their message could not be encoded: [`Why::Unencodable`].
    pub unencodable: u64,
    /// Frames that answer no request in flight: late or forged answers.
    pub stray_replies: u64,
    /// Descriptors that arrived with such frames and were closed.
    pub stray_fds: u64,
    /// One-way requests lost with a worker, or because no worker was left.
    pub one_ways_lost: u64,
    /// One-way requests whose deadline passed before they were done.
    pub one_ways_expired: u64,
    /// One-way requests that the handler refused.
    pub one_ways_refused: u64,
    /// Frames that no correct worker sends: undecodable, out of sequence, or with more descriptors
    /// than allowed. Also invalid writes to a ring. The worker was killed.
    pub broken_frames: u64,
    /// First frames that were invalid, or of another worker than main expects.
    pub wrong_first_frames: u64,
    /// Replies whose descriptors did not all arrive:
    /// [`ReplyView::fds_lost`](crate::ReplyView::fds_lost).
    pub replies_without_fds: u64,
    /// Words of the shared page with a value that no correct worker writes. Each counts as a
    /// running request.
    pub broken_words: u64,
    /// Workers killed because a request ran too long; see
    /// [`Start::time_limit`](crate::Start::time_limit).
    pub killed_overdue: u64,
    /// Workers killed because they were not ready in time.
    pub killed_starting: u64,
    /// Workers killed by [`Worker::kill`](crate::Worker::kill).
    pub killed_by_hand: u64,
    /// Pauses of one millisecond, because the system was short of memory or another resource.
    pub pauses: u64,
    /// Times that the socket was full and main had to wait for the worker.
    pub stalls: u64,
    /// Notes that workers dropped for lack of credit, by their own count.
    pub notes_dropped: u64,
}

impl Counters {
    /// Returns each counter with its name, for metrics and logs.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [
            ("full", self.full),
            ("too_long", self.too_long),
            ("too_many_fds", self.too_many_fds),
            ("no_fd_left", self.no_fd_left),
            ("stopped", self.stopped),
            ("unencodable", self.unencodable),
            ("stray_replies", self.stray_replies),
            ("stray_fds", self.stray_fds),
            ("one_ways_lost", self.one_ways_lost),
            ("one_ways_expired", self.one_ways_expired),
            ("one_ways_refused", self.one_ways_refused),
            ("broken_frames", self.broken_frames),
            ("wrong_first_frames", self.wrong_first_frames),
            ("replies_without_fds", self.replies_without_fds),
            ("broken_words", self.broken_words),
            ("killed_overdue", self.killed_overdue),
            ("killed_starting", self.killed_starting),
            ("killed_by_hand", self.killed_by_hand),
            ("pauses", self.pauses),
            ("stalls", self.stalls),
            ("notes_dropped", self.notes_dropped),
        ];
        counts.into_iter()
    }

    /// Counts a request that was not accepted.
    pub(crate) const fn not_taken(&mut self, why: Why) {
        let count = match why {
            Why::Full => &mut self.full,
            Why::TooLong { .. } | Why::NoBlocks => &mut self.too_long,
            Why::TooManyFds { .. } => &mut self.too_many_fds,
            Why::NoFdLeft(_) => &mut self.no_fd_left,
            Why::Stopped => &mut self.stopped,
            Why::Unencodable => &mut self.unencodable,
        };
        add(count, 1);
    }
}

/// Adds to a counter, which saturates.
#[inline(never)] // It has many callers.
pub(crate) const fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;

    use super::*;

    #[test]
    fn each_count_has_its_name() {
        let counters = Counters {
            full: 1,
            too_long: 2,
            too_many_fds: 3,
            no_fd_left: 4,
            stopped: 5,
            unencodable: 6,
            stray_replies: 7,
            stray_fds: 8,
            one_ways_lost: 9,
            one_ways_expired: 10,
            one_ways_refused: 11,
            broken_frames: 12,
            wrong_first_frames: 13,
            replies_without_fds: 14,
            broken_words: 15,
            killed_overdue: 16,
            killed_starting: 17,
            killed_by_hand: 18,
            pauses: 19,
            stalls: 20,
            notes_dropped: 21,
        };
        let named: String =
            counters.iter().map(|(name, count)| format!(", {name}: {count}")).collect();
        let all = format!("{counters:?}");
        assert_eq!(all, format!("Counters {{ {} }}", named.trim_start_matches(", ")));
    }
}
