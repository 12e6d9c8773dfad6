//! The one place for waiting: poll with an absolute deadline.

use heapless::Vec;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::contract::SystemError;
use crate::waiting::clock::Instant;

/// Most descriptors that one call of [`wait`] watches.
pub const MAX_WATCHED: usize = 48;

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

/// Whether anything was seen.
type Waited = Result<bool, SystemError>;

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
/// is ready. Without a deadline there is no timeout; with one that has passed it only looks.
///
/// Signals do not end the wait.
///
/// # Errors
/// `EINVAL` for more than [`MAX_WATCHED`] descriptors, `ENOMEM` from the kernel; see poll(2).
pub fn wait(watched: &mut [Watched<'_>], deadline: Option<Instant>) -> Waited {
    let mut polled = polled(watched)?;
    let is_ready = poll(&mut polled, deadline)?;
    for (watched, polled) in watched.iter_mut().zip(&polled) {
        watched.seen = polled.revents();
    }
    Ok(is_ready)
}

fn poll(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> Waited {
    loop {
        // The deadline is absolute, so that a storm of signals cannot prolong the wait.
        match rustix::event::poll(polled, timeout(deadline).as_ref()) {
            Err(Errno::INTR) => {}
            answer => return answer.map(|count| count > 0).map_err(SystemError::of("poll")),
        }
    }
}

fn polled<'fd>(watched: &[Watched<'fd>]) -> Result<Vec<PollFd<'fd>, MAX_WATCHED>, SystemError> {
    let mut polled = Vec::new();
    for watched in watched {
        let events = match watched.interest {
            Interest::End => PollFlags::empty(),
            Interest::Input => PollFlags::IN,
            Interest::Output => PollFlags::OUT,
            Interest::Both => PollFlags::IN.union(PollFlags::OUT),
        };
        if polled.push(PollFd::from_borrowed_fd(watched.fd, events)).is_err() {
            return Err(SystemError::of("poll")(Errno::INVAL));
        }
    }
    Ok(polled)
}

/// Returns whether the other side of a socket sends no more (`POLLRDHUP`, poll(2)).
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> Waited {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    poll(&mut polled, Some(Instant::PAST))?;
    let [polled] = &polled;
    Ok(polled.revents().intersects(PollFlags::RDHUP | PollFlags::HUP))
}

fn timeout(deadline: Option<Instant>) -> Option<Timespec> {
    let deadline = deadline.filter(|&deadline| deadline != Instant::NEVER)?;
    let rest = match deadline {
        Instant::PAST => core::time::Duration::ZERO,
        _ => deadline.since(Instant::now()),
    };
    Some(Timespec {
        tv_sec: rest.as_secs().try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: rest.subsec_nanos().into(),
    })
}
