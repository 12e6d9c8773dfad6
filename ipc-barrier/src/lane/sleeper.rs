//! How an end sleeps where reading its bell alone will not do.

use core::mem::{forget, replace};

use heapless::Vec;
use ipc_transport::{Instant, Patience, SystemError, Trigger, WaitSet, Waiter, Watched};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::lane::{AT_ONCE, Broken, Half, Mechanism, SOURCES, watch};

/// The sleep for which an end opens its set. To open and to close one takes some 6.5 µs and spares
/// 0.8 µs in a sleep with a deadline, half as much with a pidfd alone; most barriers sleep less.
const PAYS_AT: u32 = 8;

/// Rings that may lie in a bell before they are read, where each shows all the same.
pub(crate) const RINGS: usize = 64;

/// The bell's key in a set.
const BELL: u8 = 0;
/// The key of all else, each of which shows the end.
const END: u8 = 1;

/// What a sleep has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The deadline has come.
    Nothing,
    /// The bell rings, until it is silenced.
    Ringing,
    /// The bell has rung, and needs nothing more.
    Rung,
    /// The peer is gone, or its end of the lane is closed.
    End,
}

/// How an end sleeps: by poll, and by a set of its own once it has slept so often that it pays.
#[derive(Debug)]
pub(crate) enum Sleeper {
    Polling { sleeps: u32 },
    Standing(Standing),
}

impl Sleeper {
    pub(crate) const fn new() -> Self {
        Self::Polling { sleeps: 0 }
    }

    pub(crate) fn sleep<L: Mechanism>(
        &mut self,
        half: &Half,
        pidfd: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> Result<Shown, Broken> {
        if let Self::Polling { sleeps } = self {
            *sleeps = sleeps.saturating_add(1);
            // Where it cannot be opened it is not tried again.
            if *sleeps == PAYS_AT {
                if let Ok(standing) = Standing::open::<L>(half, pidfd) {
                    *self = Self::Standing(standing);
                }
            }
        }
        if let Self::Standing(standing) = self {
            match standing.sleep(deadline) {
                Ok(shown) => {
                    // poll alone tells of descriptors that are not open any more.
                    if shown == Shown::Nothing {
                        poll::<L>(half, pidfd, AT_ONCE)?;
                    }
                    return Ok(shown);
                }
                Err(error) => {
                    let standing = replace(self, Self::Polling { sleeps: PAYS_AT });
                    // Closed by somebody who closes all but what they know: the numbers are no
                    // longer this end's to close.
                    if [Errno::BADF, Errno::INVAL].map(Into::into).contains(&error.errno) {
                        forget(standing);
                    }
                }
            }
        }
        poll::<L>(half, pidfd, deadline)
    }

    /// The descriptors that it sleeps with.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let standing = match self {
            Self::Polling { .. } => None,
            Self::Standing(standing) => Some(standing.set.descriptors()),
        };
        standing.into_iter().flatten()
    }
}

/// A set of all the sources of an end. Of the bell it shows each ring once, so that the rings need
/// not be read each time.
#[derive(Debug)]
pub(crate) struct Standing {
    set: WaitSet,
    /// Rings that were shown and not read.
    rings: usize,
    /// How many there may be.
    unread_limit: usize,
    /// The end of the bell is shown once, too.
    is_over: bool,
}

impl Standing {
    fn open<L: Mechanism>(half: &Half, pidfd: Option<BorrowedFd<'_>>) -> Result<Self, SystemError> {
        let set = WaitSet::open()?;
        let mut sources = Vec::new();
        watch::<L, SOURCES>(half, pidfd, &mut sources);
        if let Some((bell, others)) = sources.split_first() {
            set.add(bell, Trigger::Edge, BELL)?;
            others.iter().try_for_each(|other| set.add(other, Trigger::Level, END))?;
        }
        let release = rustix::system::uname();
        let unread_limit = if shows_each_write(release.release().to_bytes()) { RINGS } else { 1 };
        Ok(Self { set, rings: 0, unread_limit, is_over: false })
    }

    #[inline]
    fn sleep(&mut self, deadline: Option<Instant>) -> Result<Shown, SystemError> {
        if self.is_over {
            return Ok(Shown::End);
        }
        let ready = self.set.wait(deadline)?;
        if ready.is_timed_out() {
            return Ok(Shown::Nothing);
        }
        self.is_over = ready.is_over(BELL) || ready.is_ready(END);
        if self.is_over {
            return Ok(Shown::End);
        }
        self.rings += 1;
        if self.rings < self.unread_limit {
            return Ok(Shown::Rung);
        }
        self.rings = 0;
        Ok(Shown::Ringing)
    }
}

/// Whether a pipe shows each write to those who want each change, also where it was not empty:
/// from kernel 5.14 on, or before 5.5, which is not told from what lies between.
fn shows_each_write(release: &[u8]) -> bool {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        let text = core::str::from_utf8(digits).unwrap_or_default();
        text.parse::<u32>().unwrap_or(0)
    });
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 14)
}

/// Sleeps, or only looks, by the call that needs no descriptor of its own.
pub(crate) fn poll<L: Mechanism>(
    half: &Half,
    pidfd: Option<BorrowedFd<'_>>,
    deadline: Option<Instant>,
) -> Result<Shown, Broken> {
    let mut watched = Vec::new();
    watch::<L, SOURCES>(half, pidfd, &mut watched);
    match Waiter::new(Patience::SLEEP).wait(&mut watched, deadline) {
        Ok(true) => {}
        Ok(false) => return Ok(Shown::Nothing),
        Err(_) => return Err(Broken),
    }
    if watched.iter().any(Watched::is_broken) {
        return Err(Broken);
    }
    // The bell comes first, and it is over only where its closing shows the end.
    let is_over = watched.iter().skip(1).any(Watched::is_ready);
    if is_over || watched.first().is_some_and(Watched::is_over) {
        return Ok(Shown::End);
    }
    Ok(Shown::Ringing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kernels_that_are_known_to_show_each_write_leave_rings_unread() {
        for release in ["5.14.0", "5.14-rc1", "5.15.167-amd64", "6.1", "6.18.44", "10.0.1"] {
            assert!(shows_each_write(release.as_bytes()), "{release}");
        }
        // The last is what a process with the personality of an old kernel is told (uname(2)).
        for release in ["5.13.19", "5.4.0", "4.19", "5", "", "six", "2.6.78"] {
            assert!(!shows_each_write(release.as_bytes()), "{release}");
        }
    }
}
