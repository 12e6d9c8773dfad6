//! The arguments of a call to a service's method.

use ipc_frame::Encode;
use rustix::fd::BorrowedFd;

use crate::call::{Body, Call};

/// The arguments of one call to a method of a [`service!`](crate::service), borrowed until the call
/// is made.
///
/// [`call`](Self::call) returns a [`Call`], which sets the rest: the deadline, the resend policy,
/// and whether main waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, M, const FDS: usize> {
    call: Call<'static>,
    message: M,
    fds: [BorrowedFd<'a>; FDS],
}

impl<'a, M: Encode, const FDS: usize> Args<'a, M, FDS> {
    #[doc(hidden)]
    pub const fn new(call: Call<'static>, message: M, fds: [BorrowedFd<'a>; FDS]) -> Self {
        Self { call, message, fds }
    }

    /// Returns the call, on which a deadline can still be set. It has the resend policy of the
    /// method's declaration, unless another is set. It allows its reply the number of descriptors
    /// that the method returns.
    pub fn call(&self) -> Call<'_> {
        Call { body: Body::Message(&self.message), fds: &self.fds, ..self.call }
    }
}
