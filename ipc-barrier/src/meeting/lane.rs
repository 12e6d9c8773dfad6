//! What a lane is: how one side's tokens and aborts reach the other. The rules say what they mean.

use ipc_transport::{Interest, SharedPage, SystemError};
use rustix::fd::OwnedFd;

use super::atomic::{self, AtomicU32};
use super::held::Held;

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
    /// This side's place where both are listed, see [`Role`](super::end::Role).
    pub(crate) index: usize,
    pub(crate) outgoing: Held,
    pub(crate) incoming: Held,
    pub(crate) own: Held,
    pub(crate) memory: SharedPage,
    /// The file that the memory is of, where it has to outlive an exec.
    pub(crate) file: Option<Held>,
    /// Another source of the peer's end.
    pub(crate) pidfd: Option<Held>,
}

/// Why nothing was posted or seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The descriptors do not work.
    Broken,
    /// The call that waits has failed, which says nothing of the peer.
    Wait(SystemError),
}

/// What a lane does. Nothing waits.
pub trait Mechanism {
    /// The lane's name in exported text.
    const NAME: &'static str;

    /// Whether the kernel counts what is posted: [`try_take`](Self::try_take) is a system call, and
    /// the peer's end shows at [`Half::own`]. Else [`Half::incoming`] is a bell, which shows that end
    /// too, and holds no token.
    const IS_COUNTER: bool;

    /// Opens the descriptors, and initialises the memory.
    fn open(memory: &SharedPage) -> Result<Fds, SystemError>;

    /// Posts to the peer a [`TOKEN`](super::rules::TOKEN) or an [`ABORT`](super::rules::ABORT).
    /// Returns false where one more token does not fit.
    fn post(half: &Half, value: u64) -> Result<bool, Fault>;

    /// Takes everything that the peer has posted, which may be nothing.
    fn try_take(half: &Half) -> Result<u64, Fault>;

    /// Makes [`Half::incoming`] show the peer's next post. Returns false where it has posted
    /// already.
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

    /// The word that a side adds to and the other takes from.
    #[inline]
    pub(crate) fn word(&self, of: usize) -> Result<&AtomicU32, Fault> {
        self.words().get(of).ok_or(Fault::Broken)
    }

    /// All that the end needs.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &Held> {
        let lane = [&self.outgoing, &self.incoming, &self.own];
        lane.into_iter().chain(&self.file).chain(&self.pidfd)
    }

    /// What shows the peer's posts, first, and its end.
    pub(crate) fn sources<L: Mechanism>(&self) -> impl Iterator<Item = (&Held, Interest)> {
        let end = L::IS_COUNTER.then_some((&self.own, Interest::End));
        let pidfd = self.pidfd.iter().map(|pidfd| (pidfd, Interest::Input));
        [(&self.incoming, Interest::Input)].into_iter().chain(end).chain(pidfd)
    }
}
