//! The lane in shared memory: for each direction a word, and a pipe as its bell.

use core::sync::atomic::Ordering;

use ipc_transport::{SharedPage, SystemError, above_stdio};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use super::held::Held;
use super::lane::{Fault, Fds, Half, Mechanism};
use super::wait::write_now;
use super::word::{self, ASLEEP, Posted};

/// The default lane: words in a page that both sides map, and two pipes as bells.
///
/// A side rings the other's bell only if the other is about to sleep. If nobody waits, placing a
/// token costs a few instructions and no system call. At most 1,073,741,823 tokens may be unread.
///
/// Both sides keep the read end of each bell open, so no write hits a pipe without a reader
/// (`SIGPIPE`, pipe(7)). Each side alone holds the write end that rings the other's bell. When it
/// closes, the other side sees that this side is gone. Write ends are non-blocking and read ends
/// are blocking, so that a wait without a deadline is one read(2).
///
/// **Rings are bounded.** A side marks itself as asleep right before it sleeps. The peer that
/// clears the mark rings once. A sleep that finds rings reads all of them. A sleep that runs out of
/// time leaves its mark; if a later look finds the token first, the next sleep reads the ring for
/// that mark. So at most three rings are unread at any time: one for that mark, one for the next
/// mark, and one that the peer had not yet written when its token was taken. An honest peer cannot
/// fill the pipe.
///
/// **A hostile peer cannot delay this side.** Whatever it writes into the page or does to the
/// pipes, no call waits longer than its deadline. Before kernel 6.4, or under a filter that refuses
/// preadv2(2), this holds only if the peer does not read this side's bell.
///
/// The descriptor of [`watch`](crate::End::watch) shows the peer's next post after
/// [`arm`](crate::End::arm).
#[derive(Debug)]
pub enum Page {}

impl Mechanism for Page {
    const NAME: &'static str = "page";
    const IS_COUNTER: bool = false;

    fn open(memory: &SharedPage) -> Result<Fds, SystemError> {
        // Marked from the start, so that the first post rings for a side that watches but never
        // arms.
        for word in memory.words().iter().take(2) {
            word.store(ASLEEP, Ordering::Relaxed);
        }
        let (to_child, parent_own) = bell()?;
        let (to_parent, child_own) = bell()?;
        Ok([to_child, to_parent, parent_own, child_own])
    }

    #[inline]
    fn post(half: &Half, value: u64) -> Result<bool, Fault> {
        let posted = word::post(half.word(half.index)?, value);
        if posted == Posted::ToSleeper {
            ring(&half.own)?;
        }
        Ok(posted != Posted::Full)
    }

    #[inline]
    fn try_take(half: &Half) -> Result<u64, Fault> {
        half.word(half.index ^ 1).map(word::take)
    }

    #[inline]
    fn arm(half: &Half) -> Result<bool, Fault> {
        half.word(half.index ^ 1).map(word::arm)
    }
}

/// Opens a bell: the read end, and the write end that rings it.
fn bell() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
    let (reader, writer) = (above_stdio(reader)?, above_stdio(writer)?);
    fcntl_setfl(&writer, OFlags::NONBLOCK).map_err(SystemError::of("fcntl"))?;
    Ok((reader, writer))
}

#[inline]
fn ring(bell: &Held) -> Result<(), Fault> {
    // A full pipe is readable already.
    write_now(bell, &[0]).map(drop)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use ipc_transport::{Instant, duplicate};
    use rustix::fd::AsFd;

    use super::*;
    use crate::meeting::memory::WORDS;
    use crate::meeting::rules::{ABORT, TOKEN};
    use crate::meeting::wait::{look, read_now, sleep};
    use crate::meeting::word::TOKENS;

    /// Both sides in one process.
    fn halves() -> [Half; 2] {
        let (memory, file) = SharedPage::with_file(WORDS).unwrap();
        let again = SharedPage::of_file(file.as_fd(), WORDS).unwrap();
        let [to_child, to_parent, parent_own, child_own] = Page::open(&memory).unwrap();
        let copy = |fd: &OwnedFd| duplicate(fd.as_fd()).unwrap();
        let child_fds = [copy(&to_parent), copy(&to_child), child_own];
        let parent_fds = [to_child, to_parent, parent_own];
        let half = |index, [outgoing, incoming, own]: [OwnedFd; 3], memory| Half {
            index,
            outgoing: outgoing.into(),
            incoming: incoming.into(),
            own: own.into(),
            memory,
            file: None,
            pidfd: None,
        };
        [half(0, parent_fds, memory), half(1, child_fds, again)]
    }

    fn rings(half: &Half) -> usize {
        read_now(&half.incoming, &mut [0; 64]).unwrap().unwrap_or(0)
    }

    #[test]
    fn a_full_word_refuses_a_token_and_counts_exactly() {
        let [parent, child] = halves();
        for mark in [0, ASLEEP] {
            let word = parent.word(0).unwrap();
            word.store(mark | (TOKENS - 2), Ordering::Relaxed);
            let placed: [_; 4] = core::array::from_fn(|_| Page::post(&parent, TOKEN));
            assert_eq!(placed, [Ok(true), Ok(true), Ok(false), Ok(false)]);
            assert_eq!(Page::try_take(&child), Ok(u64::from(TOKENS)));
            assert_eq!(Page::post(&parent, TOKEN), Ok(true));
            assert_eq!(Page::try_take(&child), Ok(1));
        }
    }

    #[test]
    fn an_abort_finds_room_in_a_full_word() {
        let [parent, child] = halves();
        parent.word(0).unwrap().store(TOKENS, Ordering::Relaxed);
        assert_eq!(Page::post(&parent, ABORT), Ok(true));
        assert_eq!(Page::try_take(&child), Ok(ABORT + u64::from(TOKENS)));
    }

    #[test]
    fn one_mark_is_one_ring() {
        let [parent, child] = halves();
        for (expected, why) in [(1, "marked from the start"), (0, "nobody is asleep")] {
            assert_eq!(Page::post(&parent, TOKEN), Ok(true));
            assert_eq!(rings(&child), expected, "{why}");
        }
        assert_eq!(Page::arm(&child), Ok(false), "tokens are there");
        assert_eq!(Page::try_take(&child), Ok(2));
        assert_eq!((Page::arm(&child), Page::arm(&child)), (Ok(true), Ok(true)));
        assert_eq!(Page::post(&parent, TOKEN), Ok(true));
        assert_eq!(Page::post(&parent, TOKEN), Ok(true));
        assert_eq!(rings(&child), 1);
        assert_eq!(Page::try_take(&child), Ok(2));
    }

    fn unread(half: &Half) -> u64 {
        rustix::io::ioctl_fionread(&half.incoming).unwrap()
    }

    /// A wait whose deadline has already passed, with at most one spurious wake-up.
    fn runs_out(half: &Half) {
        let mut looks = (0..2).map(|_| look::<Page>(half, Instant::from_nanoseconds(1)));
        assert!(looks.any(|seen| seen == Ok(None)), "rings were left unread");
    }

    /// A wait times out, and a look finds the token. The next wait marks, and the peer posts before
    /// that wait sleeps: two rings for one sleep.
    #[test]
    fn repro_waits_that_run_out_leave_few_rings() {
        let [parent, child] = halves();
        let passed = Instant::from_nanoseconds(1);
        for round in 0..100_000 {
            runs_out(&child);
            assert_eq!(Page::post(&parent, TOKEN), Ok(true));
            assert_eq!(look::<Page>(&child, Instant::PAST), Ok(Some(1)));
            assert_eq!(Page::arm(&child), Ok(true));
            assert_eq!(Page::post(&parent, TOKEN), Ok(true));
            assert_eq!(sleep::<Page>(&child, passed), Ok(Some(0)));
            assert_eq!(Page::try_take(&child), Ok(1));
            assert!(unread(&child) <= 3, "round {round}: {} rings", unread(&child));
        }
    }

    /// As above, with a peer that clears the mark and rings only after the side has marked itself
    /// again.
    #[test]
    fn rings_that_come_late_do_not_add_up() {
        let [parent, child] = halves();
        let passed = Instant::from_nanoseconds(1);
        let word = parent.word(0).unwrap();
        let mut most = 0;
        for _ in 0..10_000 {
            runs_out(&child);
            assert_eq!(word.swap(1, Ordering::AcqRel), ASLEEP, "the first half of a post");
            assert_eq!(look::<Page>(&child, Instant::PAST), Ok(Some(1)));
            assert_eq!(look::<Page>(&child, passed), Ok(None), "marked again");
            ring(&parent.own).unwrap();
            assert_eq!(Page::post(&parent, TOKEN), Ok(true));
            assert_eq!(look::<Page>(&child, Instant::PAST), Ok(Some(1)));
            assert_eq!(Page::arm(&child), Ok(true));
            assert_eq!(Page::post(&parent, TOKEN), Ok(true));
            most = unread(&child).max(most);
            assert_eq!(sleep::<Page>(&child, passed), Ok(Some(0)));
            assert_eq!(Page::try_take(&child), Ok(1));
        }
        assert_eq!(most, 3);
    }

    #[test]
    fn a_reader_that_arms_all_the_time_misses_no_token() {
        const TOKENS: u64 = 1_000_000;
        let [parent, child] = halves();
        let taken = std::thread::scope(|scope| {
            let poster =
                scope.spawn(|| (0..TOKENS).all(|_| Page::post(&parent, TOKEN) == Ok(true)));
            let mut taken = 0;
            while !poster.is_finished() {
                Page::arm(&child).unwrap();
                taken += Page::try_take(&child).unwrap();
            }
            assert!(poster.join().unwrap());
            taken + Page::try_take(&child).unwrap()
        });
        assert_eq!(taken, TOKENS);
    }
}
