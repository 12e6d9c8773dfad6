//! The interface of a lane: how one side's tokens and aborts reach the other. The rules define what
//! they mean.

use ipc_transport::{Interest, SharedPage, SystemError};
use rustix::fd::OwnedFd;

use super::atomic::{self, AtomicU32};
use super::held::Held;

/// How tokens reach the other side: [`Page`](crate::Page) or [`Eventfd`](crate::Eventfd). Both
/// follow the same rules. Both ends of a barrier use the same lane. The trait is sealed.
pub trait Lane: Mechanism {}

impl<L: Mechanism> Lane for L {}

/// The four descriptors of a lane. The first carries to the child and the second to the parent;
/// both sides keep these. The third belongs to the parent and the fourth to the child; when one
/// closes, the other side sees it.
pub(crate) type Fds = [OwnedFd; 4];

/// Most descriptors that a wait of one end polls.
pub(crate) const SOURCES: usize = 3;

/// One side's part of a lane.
#[derive(Debug)]
pub struct Half {
    /// This side's index in lists of both sides; see [`Role`](super::end::Role).
    pub(crate) index: usize,
    pub(crate) outgoing: Held,
    pub(crate) incoming: Held,
    pub(crate) own: Held,
    pub(crate) memory: SharedPage,
    /// The memory's file, if the memory must outlive an exec.
    pub(crate) file: Option<Held>,
    /// The peer's pidfd, which also shows the peer's death.
    pub(crate) pidfd: Option<Held>,
}

/// Why a post or a look failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A descriptor does not work.
    Broken,
    /// The waiting call failed. This says nothing about the peer.
    Wait(SystemError),
}

/// The operations of a lane. None of them waits.
pub trait Mechanism {
    /// The lane's name in exported text.
    const NAME: &'static str;

    /// Whether the kernel counts the posts. If so, [`try_take`](Self::try_take) is a system call,
    /// and [`Half::own`] shows the peer's death. Otherwise [`Half::incoming`] is a bell: it also
    /// shows the peer's death, and holds no tokens.
    const IS_COUNTER: bool;

    /// Opens the descriptors and initializes the memory.
    fn open(memory: &SharedPage) -> Result<Fds, SystemError>;

    /// Posts a [`TOKEN`](super::rules::TOKEN) or an [`ABORT`](super::rules::ABORT) to the peer.
    /// Returns false if there is no room for another token.
    fn post(half: &Half, value: u64) -> Result<bool, Fault>;

    /// Takes everything that the peer has posted, perhaps nothing.
    fn try_take(half: &Half) -> Result<u64, Fault>;

    /// Makes [`Half::incoming`] show the peer's next post. Returns false if the peer has already
    /// posted.
    fn arm(_half: &Half) -> Result<bool, Fault> {
        Ok(true)
    }
}

impl Half {
    /// The words that both sides map.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU32] {
        atomic::of_page(self.memory.words())
    }

    /// The word to which the side `of` adds.
    #[inline]
    pub(crate) fn word(&self, of: usize) -> Result<&AtomicU32, Fault> {
        self.words().get(of).ok_or(Fault::Broken)
    }

    /// All descriptors of the end.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &Held> {
        let lane = [&self.outgoing, &self.incoming, &self.own];
        lane.into_iter().chain(&self.file).chain(&self.pidfd)
    }

    /// The descriptors to poll: first the one that shows the peer's posts, then those that show its
    /// end.
    pub(crate) fn sources<L: Mechanism>(&self) -> impl Iterator<Item = (&Held, Interest)> {
        let end = L::IS_COUNTER.then_some((&self.own, Interest::End));
        let pidfd = self.pidfd.iter().map(|pidfd| (pidfd, Interest::Input));
        [(&self.incoming, Interest::Input)].into_iter().chain(end).chain(pidfd)
    }
}
