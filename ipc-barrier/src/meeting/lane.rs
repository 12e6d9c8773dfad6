//! What a lane is: how one side's tokens and aborts reach the other. The rules say what they mean.

use core::sync::atomic::AtomicU32;

use heapless::Vec;
use ipc_transport::{Interest, SystemError, Watched};
use rustix::fd::{AsFd, OwnedFd};

use super::memory::Memory;

/// How tokens reach the other side: [`Page`](crate::Page) or [`Eventfd`](crate::Eventfd). Both
/// follow the same rules, and both ends of a barrier use the same lane. The trait is sealed.
pub trait Lane: Mechanism {}

impl<L: Mechanism> Lane for L {}

/// The four descriptors of a lane: what carries to the child and to the parent, which both sides
/// keep, and then the parent's and the child's own, whose closing shows to the other.
pub(crate) type Fds = [OwnedFd; 4];

/// Descriptors of one end that are waited for, at most.
pub(crate) const SOURCES: usize = 3;

/// One side's part of a lane.
#[derive(Debug)]
pub struct Half {
    /// This side's place where both are listed, see [`Role`](super::role::Role).
    pub(crate) index: usize,
    pub(crate) outgoing: OwnedFd,
    pub(crate) incoming: OwnedFd,
    pub(crate) own: OwnedFd,
    pub(crate) memory: Memory,
    /// Another source of the peer's end.
    pub(crate) pidfd: Option<OwnedFd>,
}

/// The descriptors do not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a sleep has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The deadline has passed.
    Nothing,
    /// The peer has posted.
    Post,
    /// The peer is gone, or its end of the lane is closed.
    End,
}

/// What a lane does. Only [`sleep`](Self::sleep) waits.
pub trait Mechanism {
    /// The lane's name in exported text.
    const NAME: &'static str;

    /// Whether [`try_take`](Self::try_take) makes no system call.
    const LOOKS_FREELY: bool;

    /// Whether the peer's end shows at [`Half::own`], and not at [`Half::incoming`].
    const ENDS_APART: bool;

    /// Opens the descriptors, and initialises the memory.
    fn open(memory: &Memory) -> Result<Fds, SystemError>;

    /// Posts to the peer a [`TOKEN`](super::rules::TOKEN) or an [`ABORT`](super::rules::ABORT).
    /// Returns false where one more token does not fit.
    fn post(half: &Half, value: u64) -> Result<bool, Broken>;

    /// Takes everything that the peer has posted, which may be nothing.
    fn try_take(half: &Half) -> Result<u64, Broken>;

    /// Makes [`Half::incoming`] show the peer's next post. Returns false where it has posted
    /// already.
    fn arm(_half: &Half) -> Result<bool, Broken> {
        Ok(true)
    }

    /// Makes [`Half::incoming`] show later posts only, where that is possible without taking.
    fn hush(_half: &Half) -> Result<(), Broken> {
        Ok(())
    }

    /// Sleeps until the peer posts or closes, by one blocking read. `None` where the lane cannot.
    fn sleep(_half: &Half) -> Result<Option<Shown>, Broken> {
        Ok(None)
    }
}

impl Half {
    /// The word that a side adds to and the other takes from.
    #[inline]
    pub(crate) fn word(&self, of: usize) -> Result<&AtomicU32, Broken> {
        self.memory.page.words().get(of).ok_or(Broken)
    }

    /// All that the end needs.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        let lane = [&self.outgoing, &self.incoming, &self.own];
        lane.into_iter().chain(&self.memory.file).chain(&self.pidfd)
    }

    /// What shows the peer's posts, first, and its end.
    pub(crate) fn sources<L: Mechanism>(&self) -> impl Iterator<Item = (&OwnedFd, Interest)> {
        let end = L::ENDS_APART.then_some((&self.own, Interest::End));
        let pidfd = self.pidfd.iter().map(|pidfd| (pidfd, Interest::Input));
        [(&self.incoming, Interest::Input)].into_iter().chain(end).chain(pidfd)
    }

    /// Adds the [`sources`](Self::sources) to what is polled; the caller has room for them.
    pub(crate) fn watch<'fd, L: Mechanism, const N: usize>(
        &'fd self,
        watched: &mut Vec<Watched<'fd>, N>,
    ) {
        for (fd, interest) in self.sources::<L>() {
            _ = watched.push(Watched::new(fd.as_fd(), interest));
        }
    }
}
