//! What a child is given and gives up before it becomes a program, as data.

use heapless::Vec;
use rustix::fd::{BorrowedFd, RawFd};

use super::program::TOO_MANY;
use super::reason::Reason;
use super::signals::{ALL, Mask, NONE};

/// Most descriptors that a program is given.
pub(super) const FDS: usize = 16;

/// The set-up of a child, as data: [`spawn`](Self::spawn) starts a program with it.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    pub(super) fds: Vec<(BorrowedFd<'a>, RawFd), FDS>,
    pub(super) mask: Mask,
    /// The first list that was too long.
    pub(super) too_many: Option<Reason>,
}

impl<'a> Setup<'a> {
    /// Starts a program with nothing but the standard streams.
    #[expect(clippy::new_without_default, reason = "nothing is a choice here, not a default")]
    pub const fn new() -> Self {
        Self { fds: Vec::new(), mask: NONE, too_many: None }
    }

    /// Gives the program a descriptor under this number, as dup2(2); 0, 1 and 2 are its standard
    /// streams. At most 16; of two with the same number the later one counts.
    #[must_use]
    pub fn fd(mut self, fd: BorrowedFd<'a>, number: RawFd) -> Self {
        if self.fds.push((fd, number)).is_err() {
            self.too_many = Some(Reason::new("descriptors", TOO_MANY, "more than 16"));
        }
        self
    }

    /// Keeps every signal blocked over the exec, until the program unblocks them (sigprocmask(2)).
    /// For a program that knows of it: no signal can end it before it has its own settings.
    #[must_use]
    pub const fn blocked(mut self) -> Self {
        self.mask = ALL;
        self
    }
}
