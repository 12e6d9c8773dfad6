//! The lane in memory: a word for each direction, and a pipe for each as its bell.

use core::sync::atomic::Ordering;

use ipc_transport::{SystemError, above_stdio};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, preadv2};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::lane::{ABORTION, Broken, Fds, Half, Mechanism, Post, Slept, is_readable};

/// The peer has aborted.
const ABORTED: u32 = 1 << 31;
/// The reader is about to sleep and wants the bell to be rung.
pub(crate) const ASLEEP: u32 = 1 << 30;
/// The tokens that were not taken; the most there can be.
const TOKENS: u32 = ASLEEP - 1;

/// Bytes that one read takes from the bell.
const RINGS: usize = 16;

/// Words in a page that both sides map, and two pipes as bells, which are rung only for a side
/// that is about to sleep: to place is a few instructions where nobody waits. The default.
///
/// The reading end of a bell stays open on both sides, so that nobody writes to a pipe without
/// reader (`SIGPIPE`, pipe(7)); each side alone has the end that rings the other's bell, whose
/// closing shows its own end. The writing ends do not block and the reading ends do, so that a
/// wait without deadline is one read(2).
///
/// The descriptor to watch shows the peer's next post after [`arm`](crate::End::arm).
#[derive(Debug)]
pub enum Page {}

impl Mechanism for Page {
    const NAME: &'static str = "page";
    const LOOKS_FREELY: bool = true;

    fn open() -> Result<Fds, SystemError> {
        let (to_child, parents) = bell()?;
        let (to_parent, childs) = bell()?;
        Ok(Fds { to_child, to_parent, parents, childs })
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
    fn take_shown(half: &Half) -> Result<u64, Broken> {
        Self::hush(half)?;
        Self::try_take(half)
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
        let mut rings = [0; RINGS];
        loop {
            // Offset -1 is the pipe's own; another reader may have been quicker.
            let mut pieces = [IoSliceMut::new(&mut rings)];
            match preadv2(&half.incoming, &mut pieces, u64::MAX, ReadWriteFlags::NOWAIT) {
                Ok(_) | Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // Pipes have it from kernel 6.4 on, and a filter may refuse it.
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                    if is_readable(half.incoming.as_fd()) {
                        _ = Self::sleep(half)?;
                    }
                    return Ok(());
                }
                Err(_) => return Err(Broken),
            }
        }
    }

    #[inline]
    fn sleep(half: &Half) -> Result<Slept, Broken> {
        let mut rings = [0; RINGS];
        loop {
            match rustix::io::read(&half.incoming, &mut rings) {
                Ok(0) => return Ok(Slept::Over),
                Ok(_) => return Ok(Slept::Woken),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Slept::Not),
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
    loop {
        match rustix::io::write(bell, &[0]) {
            // A pipe that is full rings already.
            Ok(_) | Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(_) => return Err(Broken),
        }
    }
}
