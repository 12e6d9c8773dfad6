//! The barrier before the fork. Both processes inherit it.

use core::marker::PhantomData;

use ipc_transport::{SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::end::{ChildEnd, End, ParentEnd, Role};
use super::held::Held;
use super::lane::{Fds, Half, Lane};
use super::memory::WORDS;
use super::page::Page;
use super::rules::Rules;

/// A barrier before the fork. After the fork, each process turns its copy into its end.
///
/// If one of the two drops its copy or exits without taking a role, the other sees
/// [`Unmet::Gone`](crate::Unmet::Gone). A third process may drop its copy, or exit, without any
/// effect.
///
/// A barrier that was not split cannot place or abort:
///
/// ```compile_fail
/// let barrier = ipc_barrier::Barrier::new()?;
/// barrier.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// let barrier = ipc_barrier::Barrier::new()?;
/// barrier.into_parent().abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Taking a role consumes the barrier, so a process takes only one:
///
/// ```compile_fail,E0382
/// let barrier = ipc_barrier::Barrier::new()?;
/// let mut parent = barrier.into_parent();
/// let mut child = barrier.into_child();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// let barrier = ipc_barrier::Barrier::new()?;
/// let mut parent = barrier.into_parent();
/// let mut child = ipc_barrier::Barrier::new()?.into_child();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "pthread_barrier_t")]
#[derive(Debug)]
pub struct Barrier<L = Page> {
    fds: Fds,
    memory: SharedPage,
    file: Option<OwnedFd>,
    lane: PhantomData<L>,
}

impl Barrier {
    /// Opens a barrier on the lane [`Page`]: four descriptors (pipe(2)) and one shared page
    /// (mmap(2)). The descriptors are close-on-exec and above 2. Each end keeps three of them.
    /// Works on any kernel.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM`. Nothing stays open.
    pub fn new() -> Result<Self, SystemError> {
        Self::open()
    }
}

impl<L: Lane> Barrier<L> {
    /// Opens a barrier on any lane, as [`new`](Barrier::new) does on the default lane.
    ///
    /// ```
    /// let mut end = ipc_barrier::Barrier::<ipc_barrier::Eventfd>::open()?.into_parent();
    /// assert!(end.place().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Barrier::new).
    pub fn open() -> Result<Self, SystemError> {
        Self::on(SharedPage::new(WORDS)?, None)
    }

    /// Opens a barrier whose ends can be [exported](End::export) to the program after an exec. Its
    /// memory is a sealed memfd (memfd_create(2), kernel 3.17): a fifth descriptor of the barrier,
    /// and a fourth of each end.
    ///
    /// # Errors
    /// As [`new`](Barrier::new); `ENOSYS` or `EPERM` if memfds are unknown or refused; `EFBIG` if
    /// `RLIMIT_FSIZE` is too low for the shared page.
    pub fn open_for_exec() -> Result<Self, SystemError> {
        let (memory, file) = SharedPage::with_file(WORDS)?;
        Self::on(memory, Some(file))
    }

    fn on(memory: SharedPage, file: Option<OwnedFd>) -> Result<Self, SystemError> {
        Ok(Self { fds: L::open(&memory)?, memory, file, lane: PhantomData })
    }

    /// Returns the descriptors that a process must keep open to take a role later: four, and a
    /// fifth if the barrier was opened for exec.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().chain(&self.file).map(AsFd::as_fd)
    }

    /// Turns the barrier into the parent's end, and closes the child's descriptors. Call it in the
    /// parent after the fork. Before this call, the parent cannot see the child's death.
    pub fn into_parent(self) -> ParentEnd<L> {
        self.into_end()
    }

    /// Turns the barrier into the child's end, and closes the parent's descriptors. Call it in the
    /// child, as the first step. Before this call, the child cannot see the parent's death.
    pub fn into_child(self) -> ChildEnd<L> {
        self.into_end()
    }

    fn into_end<R: Role>(self) -> End<R, L> {
        End::new(Rules::NEW, self.into_half(R::INDEX))
    }

    #[inline(never)] // Both sides share this code.
    fn into_half(self, index: usize) -> Half {
        let Self { fds: [to_child, to_parent, parent_own, child_own], memory, file, .. } = self;
        let (outgoing, incoming, own) = match index {
            0 => (to_child, to_parent, parent_own),
            _ => (to_parent, to_child, child_own),
        };
        Half {
            index,
            outgoing: outgoing.into(),
            incoming: incoming.into(),
            own: own.into(),
            memory,
            file: file.map(Held::from),
            pidfd: None,
        }
    }
}
