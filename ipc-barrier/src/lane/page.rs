//! The lane in memory: a word for each direction, and a pipe for each as its bell.

use core::sync::atomic::Ordering;

use ipc_transport::{SystemError, above_stdio};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::lane::{ABORTION, Broken, Fds, Half, Mechanism, Post, Shown, nowait, sleeper::RINGS};
use crate::memory::{Memory, Side};

/// The peer has aborted.
const ABORTED: u32 = 1 << 31;
/// The reader is about to sleep and wants the bell to be rung.
const ASLEEP: u32 = 1 << 30;
/// The tokens that were not taken; the most there can be.
const TOKENS: u32 = ASLEEP - 1;

/// Words in a page that both sides map, and two pipes as bells, which are rung only for a side
/// that is about to sleep: to place is a few instructions where nobody waits. The default.
///
/// The reading end of a bell stays open on both sides, so that nobody writes to a pipe without
/// reader (`SIGPIPE`, pipe(7)); each side alone has the end that rings the other's bell, whose
/// closing shows its own end. The writing ends do not block and the reading ends do, so that a
/// wait without deadline is one read(2).
///
/// At most 1,073,741,823 tokens may be unread. Whatever the peer writes into the page or does to the
/// pipes, no call of this side waits longer than it was asked to. Before kernel 6.4, or under a
/// filter that refuses preadv2(2), that holds for a peer which leaves this side's bell alone.
///
/// The descriptor to watch shows the peer's next post after [`arm`](crate::End::arm).
#[derive(Debug)]
pub enum Page {}

impl Mechanism for Page {
    const NAME: &'static str = "page";
    const LOOKS_FREELY: bool = true;

    fn open(memory: &Memory) -> Result<Fds, SystemError> {
        // Armed from the start: the first post rings, for a side that watches and never armed.
        for side in [Side::Parent, Side::Child] {
            if let Ok(word) = memory.word(side) {
                word.store(ASLEEP, Ordering::Relaxed);
            }
        }
        let (to_child, parent_own) = bell()?;
        let (to_parent, child_own) = bell()?;
        Ok(Fds { to_child, to_parent, parent_own, child_own })
    }

    #[inline]
    fn post(half: &Half, post: Post) -> Result<bool, Broken> {
        let word = half.memory.word(half.side)?;
        // Release, that what was written before the post is seen by whoever takes it.
        let before = match (post, word.load(Ordering::Relaxed)) {
            // One step where the other side sleeps, which is what a wait mostly does.
            (Post::Token, ASLEEP)
                if word
                    .compare_exchange(ASLEEP, 1, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok() =>
            {
                return ring(&half.own).map(|()| true);
            }
            // Nobody else adds, so that there is still room when this adds.
            (Post::Token, full) if full & TOKENS == TOKENS => return Ok(false),
            (Post::Token, _) => word.fetch_add(1, Ordering::AcqRel),
            (Post::Abortion, _) => word.fetch_or(ABORTED, Ordering::AcqRel),
        };
        // Whoever takes the mark away rings, so that one sleep is one ring.
        if before & ASLEEP != 0 && word.fetch_and(!ASLEEP, Ordering::AcqRel) & ASLEEP != 0 {
            ring(&half.own)?;
        }
        Ok(true)
    }

    #[inline]
    fn try_take(half: &Half) -> Result<u64, Broken> {
        let word = half.memory.word(half.side.other())?;
        // A swap takes the line from the peer, so look before.
        if word.load(Ordering::Relaxed) & !ASLEEP == 0 {
            return Ok(0);
        }
        // Acquire, to see what the peer wrote before it posted.
        let taken = word.swap(0, Ordering::AcqRel);
        Ok(u64::from(taken & TOKENS) + if taken & ABORTED == 0 { 0 } else { ABORTION })
    }

    #[inline]
    fn arm(half: &Half) -> Result<bool, Broken> {
        let word = half.memory.word(half.side.other())?;
        // Only an empty word is marked, in one step with the look at it: no post comes between.
        match word.compare_exchange(0, ASLEEP, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(true),
            Err(found) => Ok(found == ASLEEP),
        }
    }

    fn hush(half: &Half) -> Result<(), Broken> {
        match nowait::read(&half.incoming, &mut [0; RINGS]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(_) => Err(Broken),
        }
    }

    #[inline]
    fn sleep(half: &Half) -> Result<Option<Shown>, Broken> {
        let mut rings = [0; RINGS];
        loop {
            match rustix::io::read(&half.incoming, &mut rings) {
                Ok(0) => return Ok(Some(Shown::End)),
                // What was read is silent.
                Ok(_) => return Ok(Some(Shown::Rung)),
                Err(Errno::INTR) => {}
                // The peer has changed the mode that both share.
                Err(Errno::AGAIN) => return Ok(None),
                Err(_) => return Err(Broken),
            }
        }
    }

    fn end(_half: &Half) -> Option<BorrowedFd<'_>> {
        None
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
fn ring(bell: &OwnedFd) -> Result<(), Broken> {
    match nowait::write(bell, &[0]) {
        // A pipe that is full rings already.
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(_) => Err(Broken),
    }
}

#[cfg(test)]
mod tests {
    use ipc_transport::duplicate;
    use rustix::fd::AsFd;

    use super::*;

    /// Both sides in one process.
    fn halves() -> [Half; 2] {
        let memory = Memory::with_file().unwrap();
        let Fds { to_child, to_parent, parent_own, child_own } = Page::open(&memory).unwrap();
        let copy = |fd: BorrowedFd<'_>| duplicate(fd).unwrap();
        let again = Memory::new(Memory::map(memory.file().unwrap()).unwrap(), None);
        let (outgoing, incoming) = (copy(to_parent.as_fd()), copy(to_child.as_fd()));
        let child = Half { side: Side::Child, outgoing, incoming, own: child_own, memory: again };
        let (outgoing, incoming) = (to_child, to_parent);
        [Half { side: Side::Parent, outgoing, incoming, own: parent_own, memory }, child]
    }

    fn rings(half: &Half) -> usize {
        nowait::read(&half.incoming, &mut [0; 64]).unwrap_or(0)
    }

    #[test]
    fn a_full_word_refuses_a_token_and_counts_exactly() {
        let [parent, child] = halves();
        for mark in [0, ASLEEP] {
            let word = parent.memory.word(Side::Parent).unwrap();
            word.store(mark | (TOKENS - 2), Ordering::Relaxed);
            let placed: [_; 4] = core::array::from_fn(|_| Page::post(&parent, Post::Token));
            assert_eq!(placed, [Ok(true), Ok(true), Ok(false), Ok(false)]);
            assert_eq!(Page::try_take(&child), Ok(u64::from(TOKENS)));
            assert_eq!(Page::post(&parent, Post::Token), Ok(true));
            assert_eq!(Page::try_take(&child), Ok(1));
        }
    }

    #[test]
    fn an_abortion_finds_room_in_a_full_word() {
        let [parent, child] = halves();
        parent.memory.word(Side::Parent).unwrap().store(TOKENS, Ordering::Relaxed);
        assert_eq!(Page::post(&parent, Post::Abortion), Ok(true));
        assert_eq!(Page::try_take(&child), Ok(ABORTION + u64::from(TOKENS)));
    }

    #[test]
    fn one_sleep_is_one_ring() {
        let [parent, child] = halves();
        for (expected, why) in [(1, "armed from the start"), (0, "nobody is asleep")] {
            assert_eq!(Page::post(&parent, Post::Token), Ok(true));
            assert_eq!(rings(&child), expected, "{why}");
        }
        assert_eq!(Page::arm(&child), Ok(false), "tokens are there");
        assert_eq!(Page::try_take(&child), Ok(2));
        assert_eq!((Page::arm(&child), Page::arm(&child)), (Ok(true), Ok(true)));
        assert_eq!(Page::post(&parent, Post::Token), Ok(true));
        assert_eq!(Page::post(&parent, Post::Token), Ok(true));
        assert_eq!(rings(&child), 1);
        assert_eq!(Page::try_take(&child), Ok(2));
    }

    #[test]
    fn a_reader_that_arms_all_the_time_misses_no_token() {
        const TOKENS: u64 = 1_000_000;
        let [parent, child] = halves();
        let taken = std::thread::scope(|scope| {
            let poster =
                scope.spawn(|| (0..TOKENS).all(|_| Page::post(&parent, Post::Token) == Ok(true)));
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
