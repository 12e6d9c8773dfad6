//! The one place for waiting: poll with an absolute deadline.

#![expect(unsafe_code, reason = "a list of watched descriptors is polled in place")]

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::contract::SystemError;
use crate::waiting::clock::Instant;

/// What a descriptor is watched for. Its end or an error is noticed in any case. For input and
/// room alike watch it twice: then it shows which of them there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Interest {
    /// Only that the other side is gone.
    End = 0,
    /// That there is something to read.
    Input = 1,
    /// That there is room to write.
    Output = 4,
}

// As poll takes them: of 16 bits, with a sign or without one by the machine.
const _: () = assert!(PollFlags::IN.bits() == 1 && PollFlags::OUT.bits() == 4);

/// A descriptor to watch, and afterwards what was seen of it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Watched<'fd>(PollFd<'fd>);

impl<'fd> Watched<'fd> {
    /// Watches `fd` for `interest`.
    pub fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        Self(PollFd::from_borrowed_fd(fd, PollFlags::from_bits_retain((interest as u8).into())))
    }

    /// Returns whether anything was seen.
    pub fn is_ready(&self) -> bool {
        !self.0.revents().is_empty()
    }

    /// Returns whether the other side is gone: a hang-up, or for the writing end of a pipe an
    /// error.
    pub fn is_over(&self) -> bool {
        self.0.revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Returns whether the descriptor is not open.
    pub fn is_broken(&self) -> bool {
        self.0.revents().contains(PollFlags::NVAL)
    }
}

/// Makes a call that does not wait, again after a signal. Signals do not come as often as that: only
/// a filter interrupts it again and again.
pub fn again_on_intr<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    const MOST: usize = 100;
    let mut results = (0..MOST).map(|_| call());
    results.find(|result| !matches!(result, Err(Errno::INTR))).unwrap_or(Err(Errno::INTR))
}

/// Waits until one of the descriptors is ready or the deadline has come, and returns whether one
/// is ready. Without a deadline it has no timeout; with one that has passed it only looks.
///
/// Signals do not end the wait.
///
/// # Errors
/// `EINVAL` for more descriptors than the process may open, `ENOMEM`; see poll(2).
pub fn wait(watched: &mut [Watched<'_>], deadline: Option<Instant>) -> Result<bool, SystemError> {
    let polled: *mut [PollFd<'_>] = core::ptr::from_mut(watched) as _;
    // SAFETY: each `Watched` is a `PollFd` (`repr(transparent)`), and they stay borrowed.
    let polled = unsafe { &mut *polled };
    // The deadline is absolute, so that a storm of signals cannot prolong the wait, nor can a filter
    // that always answers so.
    loop {
        match rustix::event::poll(polled, timeout(deadline).as_ref()) {
            Err(Errno::INTR) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Err(Errno::INTR) => return Ok(false),
            polled => return polled.map(|count| count > 0).map_err(SystemError::of("poll")),
        }
    }
}

/// Returns what is seen of a descriptor at once.
pub(crate) fn look(watched: Watched<'_>) -> Result<Watched<'_>, SystemError> {
    let mut watched = [watched];
    wait(&mut watched, Some(Instant::PAST))?;
    let [seen] = watched;
    Ok(seen)
}

/// Returns whether the other side of a socket sends no more (`POLLRDHUP`, poll(2)).
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> Result<bool, SystemError> {
    let Watched(polled) = look(Watched(PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)))?;
    Ok(polled.revents().intersects(PollFlags::RDHUP | PollFlags::HUP))
}

fn timeout(deadline: Option<Instant>) -> Option<Timespec> {
    let rest = match deadline? {
        Instant::NEVER => return None,
        Instant::PAST => Duration::ZERO,
        deadline => deadline.since(Instant::now()),
    };
    // Its 584 years fit.
    Timespec::try_from(rest).ok()
}
