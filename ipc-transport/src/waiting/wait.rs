//! Waiting: poll with an absolute deadline.

#![expect(unsafe_code, reason = "poll gets the list of watched descriptors in place")]

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::contract::SystemError;
use crate::waiting::clock::Instant;

/// What to watch a descriptor for. The end and errors are always reported. To watch for input and
/// room, list the descriptor twice, so that each entry shows one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Interest {
    /// Only for the end of the other side.
    End = 0,
    /// For input to read.
    Input = 1,
    /// For room to write.
    Output = 4,
}

// The values of poll(2). `PollFlags` has 16 bits, signed on some machines and unsigned on others.
const _: () = assert!(PollFlags::IN.bits() == 1 && PollFlags::OUT.bits() == 4);

/// A descriptor to watch, and the result of the last wait.
#[derive(Debug)]
#[repr(transparent)]
pub struct Watched<'fd>(PollFd<'fd>);

impl<'fd> Watched<'fd> {
    /// Watches `fd` for `interest`.
    pub fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        Self(PollFd::from_borrowed_fd(fd, PollFlags::from_bits_retain((interest as u8).into())))
    }

    /// Returns whether the descriptor was ready.
    pub fn is_ready(&self) -> bool {
        !self.0.revents().is_empty()
    }

    /// Returns whether the other side is gone: a hang-up, or an error on the writing end of a pipe.
    pub fn is_over(&self) -> bool {
        self.0.revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Returns whether the descriptor is not open.
    pub fn is_broken(&self) -> bool {
        self.0.revents().contains(PollFlags::NVAL)
    }
}

/// Makes a nonblocking call, and repeats it after `EINTR`. The number of repeats is limited, since
/// a seccomp filter can return `EINTR` every time.
pub fn again_on_intr<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    const MOST: usize = 100;
    let mut results = (0..MOST).map(|_| call());
    results.find(|result| !matches!(result, Err(Errno::INTR))).unwrap_or(Err(Errno::INTR))
}

/// Waits until one of the descriptors is ready or the deadline passes, and returns whether one is
/// ready. Without a deadline there is no timeout. If the deadline has already passed, it does not
/// wait.
///
/// Signals do not end the wait.
///
/// # Errors
/// `EINVAL` for more descriptors than the process may open, or `ENOMEM`; see poll(2).
pub fn wait(watched: &mut [Watched<'_>], deadline: Option<Instant>) -> Result<bool, SystemError> {
    let polled: *mut [PollFd<'_>] = core::ptr::from_mut(watched) as _;
    // SAFETY: each `Watched` is a `PollFd` (`repr(transparent)`), and they stay borrowed.
    let polled = unsafe { &mut *polled };
    // The deadline is absolute, so neither many signals nor a filter that always returns EINTR can
    // prolong the wait.
    loop {
        match rustix::event::poll(polled, timeout(deadline).as_ref()) {
            Err(Errno::INTR) if deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Err(Errno::INTR) => return Ok(false),
            polled => return polled.map(|count| count > 0).map_err(SystemError::of("poll")),
        }
    }
}

/// Polls one descriptor without waiting.
pub(crate) fn look(watched: Watched<'_>) -> Result<Watched<'_>, SystemError> {
    let mut watched = [watched];
    wait(&mut watched, Some(Instant::PAST))?;
    let [seen] = watched;
    Ok(seen)
}

/// Returns whether the other side of a socket has stopped sending (`POLLRDHUP`, poll(2)).
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
    // An `Instant`'s 584 years fit.
    Timespec::try_from(rest).ok()
}
