//! Descriptors without an operating system: the types exist and have no values, so that
//! transports, inboxes and outboxes are the same with and without the feature `socket`.

use core::convert::Infallible;
use core::marker::PhantomData;

/// A descriptor that is owned. Without the feature `socket` there are none.
#[derive(Debug)]
pub struct OwnedFd(Infallible);

/// A descriptor that is borrowed. Without the feature `socket` there are none.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedFd<'fd>(Infallible, PhantomData<&'fd OwnedFd>);

/// What a descriptor can be borrowed from.
pub trait AsFd {
    /// Borrows the descriptor.
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl AsFd for OwnedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

pub(crate) fn duplicate<E>(fd: BorrowedFd<'_>) -> Result<OwnedFd, E> {
    match fd.0 {}
}
