//! The lane in memory: a word for each direction, and a pipe for each as its bell.

use core::sync::atomic::Ordering;

use ipc_transport::{SharedPage, SystemError, above_stdio};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use super::held::Held;
use super::lane::{Fault, Fds, Half, Mechanism};
use super::wait::write_now;
use super::word::{self, ASLEEP, Posted};

/// Words in a page that both sides map, and two pipes as bells, which are rung only for a side
/// that is about to sleep: to place is a few instructions where nobody waits. The default.
///
/// Both sides keep the reading end of each bell open, so nobody writes to a pipe without a reader
/// (`SIGPIPE`, pipe(7)). Each side alone holds the end that rings the other's bell; its closing
/// shows the side's end. Writing ends do not block and reading ends do, so that a wait without a
/// deadline is one read(2).
///
/// **Rings are bounded.** A side marks itself as asleep right before it sleeps, and the peer that
/// takes the mark away rings once. A sleep that finds rings reads them all. One that runs out of
/// time leaves its mark; the ring for it, if a look finds the token first, is read by the next
/// sleep. So at most three rings are unread at any time: for that mark, for the next one, and one
/// that the peer had still to write when its token was taken. An honest peer cannot fill the pipe.
///
/// At most 1,073,741,823 tokens may be unread. Whatever the peer writes into the page or does to
/// the pipes, no call of this side waits longer than it was asked to. Before kernel 6.4, or under a
/// filter that refuses preadv2(2), that holds for a peer that leaves this side's bell alone.
///
/// The descriptor to watch shows the peer's next post after [`arm`](crate::End::arm).
#[derive(Debug)]
pub enum Page {}

impl Mechanism for Page {
    const NAME: &'static str = "page";
    const IS_COUNTER: bool = false;

    fn open(memory: &SharedPage) -> Result<Fds, SystemError> {
        // Marked from the start: the first post rings, for a side that watches and never armed.
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

/// Opens a bell: the end that is read, and the end that rings.
fn bell() -> Result<(OwnedFd, OwnedFd), SystemError> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
    let (reader, writer) = (above_stdio(reader)?, above_stdio(writer)?);
    fcntl_setfl(&writer, OFlags::NONBLOCK).map_err(SystemError::of("fcntl"))?;
    Ok((reader, writer))
}

#[inline]
fn ring(bell: &Held) -> Result<(), Fault> {
    // A full pipe shows input already.
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

    /// A wait whose deadline has passed, with at most one spurious wake-up.
    fn runs_out(half: &Half) {
        let mut looks = (0..2).map(|_| look::<Page>(half, Instant::from_nanoseconds(1)));
        assert!(looks.any(|seen| seen == Ok(None)), "rings are not read");
    }

    /// A wait runs out, and a look finds the token; the next wait marks, and the peer posts before
    /// it sleeps: two rings for one sleep.
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

    /// As above, with a peer that takes the mark away and rings only once the side has marked
    /// itself again.
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
