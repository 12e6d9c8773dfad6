//! The lane of event counters: one for each direction, and a pipe whose ends show death.

use ipc_transport::{SystemError, above_stdio};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::lane::{ABORTION, Broken, Fds, Half, Mechanism, Post, Shown, nowait};
use crate::memory::Memory;

/// Two event counters (eventfd(2)) and a pipe that carries nothing: whatever is posted is in the
/// kernel at once, and no program needs to ask for the bell to ring. Each post and each look is a
/// system call. Reasons go through a shared page on this lane too.
///
/// The descriptor to watch is readable as long as there is news, also without
/// [`arm`](crate::End::arm).
///
/// It is for peers that are trusted: the kernel writes to a counter without waiting only in a
/// mode that both sides share, so that a peer which changes that and fills the counter makes
/// [`place`](crate::End::place) wait.
#[derive(Debug)]
pub enum Eventfd {}

impl Mechanism for Eventfd {
    const NAME: &'static str = "eventfd";
    const LOOKS_FREELY: bool = false;

    fn open(_memory: &Memory) -> Result<Fds, SystemError> {
        let counter = || {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            above_stdio(eventfd(0, flags).map_err(SystemError::of("eventfd"))?)
        };
        let (to_child, to_parent) = (counter()?, counter()?);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
        let (parent_own, child_own) = (above_stdio(reader)?, above_stdio(writer)?);
        Ok(Fds { to_child, to_parent, parent_own, child_own })
    }

    fn post(half: &Half, post: Post) -> Result<bool, Broken> {
        let value = match post {
            Post::Token => 1,
            Post::Abortion => ABORTION,
        };
        loop {
            match rustix::io::write(&half.outgoing, &value.to_ne_bytes()) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(_) => return Err(Broken),
            }
        }
    }

    fn try_take(half: &Half) -> Result<u64, Broken> {
        let mut value = [0; 8];
        match nowait::read(&half.incoming, &mut value) {
            // A counter that is zero cannot be read: what gives that is none.
            Ok(8) if value != [0; 8] => Ok(u64::from_ne_bytes(value)),
            Err(Errno::AGAIN) => Ok(0),
            Ok(_) | Err(_) => Err(Broken),
        }
    }

    fn arm(_half: &Half) -> Result<bool, Broken> {
        Ok(true)
    }

    fn hush(_half: &Half) -> Result<(), Broken> {
        Ok(())
    }

    fn sleep(_half: &Half) -> Result<Option<Shown>, Broken> {
        Ok(None)
    }

    fn end(half: &Half) -> Option<BorrowedFd<'_>> {
        Some(half.own.as_fd())
    }
}
