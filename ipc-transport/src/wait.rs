//! The one place for waiting: poll with an absolute deadline.

use heapless::Vec;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;

use crate::clock::Instant;
use crate::errno::SystemError;

/// Most descriptors that one call of [`wait`] watches.
const MAX_WATCHED: usize = 8;

/// What a descriptor is watched for. Its end or an error is noticed in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Only that the other side is gone.
    End,
    /// That there is something to read.
    Input,
    /// That there is room to write.
    Output,
    /// Either.
    Both,
}

/// A descriptor to watch, and afterwards what was seen of it.
#[derive(Debug)]
pub struct Watched<'fd> {
    fd: BorrowedFd<'fd>,
    interest: Interest,
    seen: PollFlags,
}

impl<'fd> Watched<'fd> {
    /// Watches `fd` for `interest`.
    pub const fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        Self { fd, interest, seen: PollFlags::empty() }
    }

    /// Returns whether anything was seen.
    pub const fn is_ready(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Returns whether there is something to read.
    pub const fn is_readable(&self) -> bool {
        self.seen.contains(PollFlags::IN)
    }

    /// Returns whether the other side is gone: a hang-up, or for the writing end of a pipe an
    /// error.
    pub const fn is_over(&self) -> bool {
        self.seen.intersects(PollFlags::HUP.union(PollFlags::ERR))
    }

    /// Returns whether the descriptor is not open.
    pub const fn is_broken(&self) -> bool {
        self.seen.contains(PollFlags::NVAL)
    }
}

/// Waits until one of the descriptors is ready or the deadline has come, and returns whether one
/// is ready. No deadline waits for ever; one that has passed only looks.
///
/// Signals do not end the wait. It watches at most 8 descriptors.
///
/// # Errors
/// `EINVAL` for more than 8 descriptors, `ENOMEM` from the kernel; see poll(2).
pub fn wait(watched: &mut [Watched<'_>], deadline: Option<Instant>) -> Result<bool, SystemError> {
    let mut polled: Vec<PollFd<'_>, MAX_WATCHED> = Vec::new();
    for watched in watched.iter() {
        let events = match watched.interest {
            Interest::End => PollFlags::empty(),
            Interest::Input => PollFlags::IN,
            Interest::Output => PollFlags::OUT,
            Interest::Both => PollFlags::IN.union(PollFlags::OUT),
        };
        if polled.push(PollFd::from_borrowed_fd(watched.fd, events)).is_err() {
            return Err(SystemError::of("poll")(rustix::io::Errno::INVAL));
        }
    }
    loop {
        match rustix::event::poll(&mut polled, timeout(deadline).as_ref()) {
            Ok(count) => {
                for (watched, polled) in watched.iter_mut().zip(&polled) {
                    watched.seen = polled.revents();
                }
                return Ok(count > 0);
            }
            // The deadline is absolute, so that a storm of signals cannot prolong the wait.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SystemError::of("poll")(error)),
        }
    }
}

/// Returns whether the other side of a socket sends no more (`POLLRDHUP`, poll(2)).
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> Result<bool, SystemError> {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match rustix::event::poll(&mut polled, Some(&now)) {
            Ok(_) => {
                let [polled] = &polled;
                return Ok(polled.revents().intersects(PollFlags::RDHUP | PollFlags::HUP));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(SystemError::of("poll")(error)),
        }
    }
}

fn timeout(deadline: Option<Instant>) -> Option<Timespec> {
    let deadline = deadline.filter(|&deadline| deadline != Instant::NEVER)?;
    let rest = match deadline.as_nanoseconds() {
        0 => core::time::Duration::ZERO,
        _ => deadline.since(Instant::now()),
    };
    Some(Timespec {
        tv_sec: rest.as_secs().try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: rest.subsec_nanos().into(),
    })
}
