//! Lists of descriptors with a fixed capacity, and bounded views of them.

use core::ops::Deref;
use core::{array, mem};

use heapless::{Vec, VecView};
use static_assertions::assert_impl_all;

use crate::fd::OwnedFd;

/// Most descriptors of one frame, and so of one call.
pub(crate) const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;

/// Storage for up to `N` descriptors, in order. Dropping it closes them. It is filled and emptied
/// through its [`fds`](Self::fds).
///
/// ```
/// # #[cfg(feature = "socket")] {
/// use ipc_transport::{FdList, PassFds, Stream, fd::AsFd};
///
/// let (mut left, mut right) = Stream::pair()?;
/// let null = std::fs::File::open("/dev/null")?;
/// left.send_with(&[b"take this"], &[null.as_fd()])?;
///
/// let mut list = FdList::<4>::new();
/// right.receive_with(&mut [0; 16], &mut list.fds())?;
/// assert!(list.fds().take_first().is_some());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct FdList<const N: usize> {
    fds: Vec<OwnedFd, N>,
}

assert_impl_all!(FdList<4>: Send, Sync);

impl<const N: usize> FdList<N> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { fds: Vec::new() }
    }

    /// Returns a view of the whole list.
    pub fn fds(&mut self) -> Fds<'_> {
        self.fds_up_to(N)
    }

    /// Returns a view of the whole list that takes no further descriptor once the list holds
    /// `limit` of them.
    pub fn fds_up_to(&mut self, limit: usize) -> Fds<'_> {
        self.tail(0, limit)
    }

    /// A view of what follows the first `start` descriptors, of at most `limit` of them.
    pub(crate) fn tail(&mut self, start: usize, limit: usize) -> Fds<'_> {
        Fds { fds: self.fds.as_mut_view(), start, limit }
    }

    /// Empties the list and leaves the descriptors open.
    pub(crate) fn forget(&mut self) {
        mem::forget(mem::take(&mut self.fds));
    }
}

impl<const N: usize> Deref for FdList<N> {
    type Target = [OwnedFd];

    fn deref(&self) -> &[OwnedFd] {
        &self.fds
    }
}

/// A view of a list of descriptors, with a limit that may be lower than the list's capacity.
///
/// What is pushed through it belongs to the list. Dropping the view closes nothing.
#[derive(Debug)]
pub struct Fds<'a> {
    fds: &'a mut VecView<OwnedFd>,
    /// Where the view begins. What is before it is not touched.
    start: usize,
    limit: usize,
}

impl Fds<'_> {
    /// Returns how many further descriptors the view takes.
    pub fn room(&self) -> usize {
        let free = self.fds.capacity() - self.fds.len();
        self.limit.saturating_sub(self.len()).min(free)
    }

    /// Appends a descriptor.
    ///
    /// # Errors
    /// Gives the descriptor back where there is no [`room`](Self::room).
    pub fn push(&mut self, fd: OwnedFd) -> Result<(), OwnedFd> {
        if self.room() == 0 {
            return Err(fd);
        }
        self.fds.push(fd)
    }

    /// Takes out the first descriptor.
    pub fn take_first(&mut self) -> Option<OwnedFd> {
        (!self.is_empty()).then(|| self.fds.remove(self.start))
    }

    /// Takes out all descriptors where there are exactly `N` of them. Otherwise they stay.
    ///
    /// ```
    /// use ipc_transport::FdList;
    ///
    /// let mut list = FdList::<4>::new();
    /// assert!(list.fds().take_all::<2>().is_none());
    /// assert!(list.fds().take_all::<0>().is_some());
    /// ```
    pub fn take_all<const N: usize>(&mut self) -> Option<[OwnedFd; N]> {
        (self.len() == N).then(|| array::from_fn(|_| self.fds.remove(self.start)))
    }

    /// Takes out the first `count` descriptors, of at least as many, and moves them to the end of
    /// another view. Those that it has no room for are closed. Returns whether there were none.
    pub(crate) fn deliver(&mut self, count: usize, to: &mut Fds<'_>) -> bool {
        let mut delivered = true;
        for fd in self.fds.drain(self.start..self.start + count) {
            delivered &= to.push(fd).is_ok();
        }
        delivered
    }

    /// Closes all descriptors of the view.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Closes all descriptors but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.fds.truncate(self.start.saturating_add(len));
    }
}

impl Deref for Fds<'_> {
    type Target = [OwnedFd];

    fn deref(&self) -> &[OwnedFd] {
        self.fds.get(self.start..).unwrap_or_default()
    }
}
