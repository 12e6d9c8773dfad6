//! What a method of a service is called with, on its way to being a call.

use ipc_frame::Encode;
use rustix::fd::BorrowedFd;

use crate::call::{Body, Call};

/// The arguments of one call to a method of a [`service!`](crate::service), borrowed until it
/// is made.
///
/// Its [`call`](Self::call) is an ordinary [`Call`], which sets the rest: the deadline, the resend
/// policy, and whether main waits for it.
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

    /// Returns the call, which may still be given a deadline. It may be repeated as the method's
    /// declaration says, unless it is given another resend policy, and allows its reply as many
    /// descriptors as the method gives.
    pub fn call(&self) -> Call<'_> {
        Call { body: Body::Message(&self.message), fds: &self.fds, ..self.call }
    }
}
