//! Descriptor lists with a fixed capacity, and views of them with a limit.

use core::ops::Deref;
use core::{array, mem};

use heapless::{Vec, VecView};
use static_assertions::assert_impl_all;

use crate::fd::OwnedFd;

/// The most descriptors in one frame, and so in one call.
pub(crate) const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;

/// Storage for up to `N` descriptors, in order. Dropping it closes them. Add and remove descriptors
/// through [`fds`](Self::fds).
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

    /// Returns a view of the whole list that takes descriptors only until the list holds `limit` of
    /// them.
    pub fn fds_up_to(&mut self, limit: usize) -> Fds<'_> {
        self.tail(0, limit)
    }

    /// A view that skips the first `start` descriptors and holds at most `limit`.
    pub(crate) fn tail(&mut self, start: usize, limit: usize) -> Fds<'_> {
        Fds { fds: self.fds.as_mut_view(), start, limit }
    }

    /// Empties the list without closing the descriptors.
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

/// A view of a descriptor list, with a limit that may be lower than the list's capacity.
///
/// The list owns the descriptors that are pushed. Dropping the view closes nothing.
#[derive(Debug)]
pub struct Fds<'a> {
    fds: &'a mut VecView<OwnedFd>,
    /// Where the view begins. Earlier descriptors are not part of it.
    start: usize,
    limit: usize,
}

impl Fds<'_> {
    /// Returns how many more descriptors fit.
    pub fn room(&self) -> usize {
        let free = self.fds.capacity() - self.fds.len();
        self.limit.saturating_sub(self.len()).min(free)
    }

    /// Appends a descriptor.
    ///
    /// # Errors
    /// Returns the descriptor if there is no [`room`](Self::room).
    pub fn push(&mut self, fd: OwnedFd) -> Result<(), OwnedFd> {
        if self.room() == 0 {
            return Err(fd);
        }
        self.fds.push(fd)
    }

    /// Removes and returns the first descriptor.
    pub fn take_first(&mut self) -> Option<OwnedFd> {
        (!self.is_empty()).then(|| self.fds.remove(self.start))
    }

    /// Removes and returns all descriptors if there are exactly `N`. Otherwise they stay.
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

    /// Moves the first `count` descriptors, which must exist, to the end of another view. Closes
    /// those that do not fit. Returns whether all of them fit.
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

    /// Closes all descriptors except the first `len`.
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
