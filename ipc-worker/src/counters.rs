//! What main's side of a worker counts: every request or frame that came to nothing, every lie that
//! a worker was caught at, every kill and every wait.

use crate::call::Why;

/// Counts since the start, which saturate:
/// [`Worker::counters`](crate::Worker::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were not taken since there was no room: [`Why::Full`].
    pub full: u64,
    /// Requests that were not taken since they are too long, or are to be lent a block of a worker
    /// without blocks: [`Why::TooLong`], [`Why::NoBlocks`].
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
    /// Frames that no worker sends: not decodable, out of sequence, or with more descriptors than
    /// asked for; or what no worker writes to a ring. The worker was killed.
    pub broken_frames: u64,
    /// First frames that were not those of a worker, or of another one than main expects.
    pub wrong_first_frames: u64,
    /// Replies whose descriptors did not all arrive; each says so itself.
    pub replies_without_fds: u64,
    /// Words of the shared page that no worker writes; each counts as that of a running request.
    pub broken_words: u64,
    /// Workers that were killed since a request ran too long; see
    /// [`Start::time_limit`](crate::Start::time_limit).
    pub killed_overdue: u64,
    /// Workers that were killed since they were not ready in time.
    pub killed_starting: u64,
    /// Workers that [`Worker::kill`](crate::Worker::kill) has killed.
    pub killed_by_hand: u64,
    /// Pauses of a millisecond, since the system was short of memory or the like.
    pub pauses: u64,
    /// Times that the socket was full, so that main had to wait for the worker.
    pub stalls: u64,
    /// Notes that workers have dropped for want of credit, by their own count.
    pub notes_dropped: u64,
}

impl Counters {
    /// Returns each count with its name, for figures and logs.
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

    /// Counts a request that was not taken.
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

/// Adds to a count, which saturates.
#[inline(never)] // Many callers.
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
