//! The barrier before the fork, which both processes inherit.

use core::marker::PhantomData;

use ipc_transport::{SharedPage, SystemError};
use rustix::fd::{AsFd, BorrowedFd};

use super::end::{ChildEnd, End, ParentEnd};
use super::lane::{Fds, Lane};
use super::memory::{Memory, WORDS};
use super::page::Page;
use super::role::Role;
use super::rules::Rules;

/// A barrier before the fork. Each process turns its copy into its own end.
///
/// A third process may drop its copy, or exit with it, without any effect on the two. One of the
/// two that does so without taking its role is [`Unmet::Gone`](crate::Unmet::Gone) for the other.
///
/// A barrier that was not split can neither place nor abort:
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
/// A process takes one role only, since that consumes the barrier:
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
    memory: Memory,
    lane: PhantomData<L>,
}

impl Barrier {
    /// Opens a barrier on the lane [`Page`]: four descriptors, close-on-exec and above 2, and
    /// one shared page (pipe(2), mmap(2); any kernel). An end keeps three of the descriptors.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` and `ENOMEM`; whatever was opened until then is closed.
    pub fn new() -> Result<Self, SystemError> {
        Self::open()
    }
}

impl<L: Lane> Barrier<L> {
    /// Opens a barrier on any lane, as [`new`](Barrier::new) does on the default one.
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
        Self::on(Memory { page: SharedPage::new(WORDS)?, file: None })
    }

    /// Opens a barrier whose ends can be [exported](End::export) to a program after exec: its
    /// memory is a sealed memfd (memfd_create(2), kernel 3.17), a fifth descriptor, which each end
    /// keeps as its fourth.
    ///
    /// # Errors
    /// As [`new`](Barrier::new), and `ENOSYS` or `EPERM` where memfds are unknown or refused.
    pub fn open_for_exec() -> Result<Self, SystemError> {
        let (page, file) = SharedPage::with_file(WORDS)?;
        Self::on(Memory { page, file: Some(file) })
    }

    fn on(memory: Memory) -> Result<Self, SystemError> {
        Ok(Self { fds: L::open(&memory)?, memory, lane: PhantomData })
    }

    /// Returns the descriptors that a process must keep open to take a role later: four, and a
    /// fifth where the barrier was opened for exec.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().chain(&self.memory.file).map(AsFd::as_fd)
    }

    /// Becomes the parent's end and closes what belongs to the child. Only after this can the
    /// child's death show; call it in the process that goes on as the parent, after fork.
    pub fn into_parent(self) -> ParentEnd<L> {
        self.into_end()
    }

    /// Becomes the child's end and closes what belongs to the parent. Only after this can the
    /// parent's death show; call it in the child, as its first step.
    pub fn into_child(self) -> ChildEnd<L> {
        self.into_end()
    }

    fn into_end<R: Role>(self) -> End<R, L> {
        let [to_child, to_parent, parent_own, child_own] = self.fds;
        let fds = match R::INDEX {
            0 => [to_child, to_parent, parent_own],
            _ => [to_parent, to_child, child_own],
        };
        End::new(Rules::NEW, fds, self.memory)
    }
}
