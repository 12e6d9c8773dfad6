//! The one place for waiting: poll with an absolute deadline.

use heapless::Vec;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;

use crate::clock::Instant;
use crate::errno::SystemError;
use crate::patience::Patience;

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

/// Waits as [`Waiter::wait`] does, asleep and without counting.
///
/// # Errors
/// `EINVAL` for more than [`MAX_WATCHED`] descriptors, `ENOMEM` from the kernel; see poll(2).
pub fn wait(watched: &mut [Watched<'_>], deadline: Option<Instant>) -> Result<bool, SystemError> {
    Waiter::new(Patience::SLEEP).wait(watched, deadline)
}

/// The one who waits: with how much patience, and how often signals came in between.
#[derive(Debug)]
pub struct Waiter {
    patience: Patience,
    interruptions: u64,
}

impl Waiter {
    /// One that no signal has interrupted yet.
    pub const fn new(patience: Patience) -> Self {
        Self { patience, interruptions: 0 }
    }

    /// Waits until one of the descriptors is ready or the deadline has come, and returns whether
    /// one is ready. No deadline waits for ever; one that has passed only looks.
    ///
    /// Signals do not end the wait. It watches at most [`MAX_WATCHED`] descriptors.
    ///
    /// # Errors
    /// `EINVAL` for more than [`MAX_WATCHED`] descriptors, `ENOMEM` from the kernel; see poll(2).
    pub fn wait(
        &mut self,
        watched: &mut [Watched<'_>],
        deadline: Option<Instant>,
    ) -> Result<bool, SystemError> {
        let mut polled = polled(watched)?;
        let is_ready = self.spin(&mut polled, deadline)? || self.poll(&mut polled, deadline)?;
        for (watched, polled) in watched.iter_mut().zip(&polled) {
            watched.seen = polled.revents();
        }
        Ok(is_ready)
    }

    /// Returns how many times a signal has interrupted a wait, which went on.
    pub const fn interruptions(&self) -> u64 {
        self.interruptions
    }

    /// Looks again and again until the patience or the time is over.
    fn spin(
        &mut self,
        polled: &mut [PollFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<bool, SystemError> {
        if self.patience.spin.is_zero() || deadline == Some(Instant::PAST) {
            return Ok(false);
        }
        let end = Instant::now() + self.patience.spin;
        let end = deadline.map_or(end, |deadline| end.min(deadline));
        while Instant::now() < end {
            if self.poll(polled, Some(Instant::PAST))? {
                return Ok(true);
            }
            core::hint::spin_loop();
        }
        Ok(false)
    }

    fn poll(
        &mut self,
        polled: &mut [PollFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<bool, SystemError> {
        loop {
            match rustix::event::poll(polled, timeout(deadline).as_ref()) {
                Ok(count) => return Ok(count > 0),
                // The deadline is absolute, so that a storm of signals cannot prolong the wait.
                Err(rustix::io::Errno::INTR) => self.interruptions += 1,
                Err(error) => return Err(SystemError::of("poll")(error)),
            }
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
            return Err(SystemError::of("poll")(rustix::io::Errno::INVAL));
        }
    }
    Ok(polled)
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
    let rest = match deadline {
        Instant::PAST => core::time::Duration::ZERO,
        _ => deadline.since(Instant::now()),
    };
    Some(Timespec {
        tv_sec: rest.as_secs().try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: rest.subsec_nanos().into(),
    })
}
