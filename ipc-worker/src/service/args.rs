//! What a method of a service is called with, on its way to being a call.

use ipc_frame::Encode;
use rustix::fd::BorrowedFd;

use crate::call::Call;

/// The arguments of one call to a method of a [`service!`](crate::service), borrowed until it
/// is made.
///
/// Its [`call`](Self::call) is an ordinary [`Call`], for which everything else is said: how
/// long it may take, whether it may be sent again, and whether main waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, M, const FDS: usize> {
    method: u16,
    message: M,
    fds: [BorrowedFd<'a>; FDS],
}

impl<'a, M: Encode, const FDS: usize> Args<'a, M, FDS> {
    #[doc(hidden)]
    pub const fn new(method: u16, message: M, fds: [BorrowedFd<'a>; FDS]) -> Self {
        Self { method, message, fds }
    }

    /// Returns the call, still to be given a deadline or a word on being sent again.
    pub fn call(&self) -> Call<'_> {
        Call::message(self.method, &self.message).fds(&self.fds)
    }
}
