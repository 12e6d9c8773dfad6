//! Descriptor types without the feature `socket`. They have no values, and exist so that
//! transports, inboxes and outboxes have the same signatures with and without it.

use core::convert::Infallible;
use core::marker::PhantomData;

/// An owned descriptor. Without the feature `socket` no value of this type exists.
#[derive(Debug)]
pub struct OwnedFd(Infallible);

/// A borrowed descriptor. Without the feature `socket` no value of this type exists.
#[derive(Clone, Copy, Debug)]
pub struct BorrowedFd<'fd>(Infallible, PhantomData<&'fd OwnedFd>);

/// Types that a descriptor can be borrowed from.
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
