//! What a method of a service is called with, on its way to being a call.

use ipc_frame::Encode;
use rustix::fd::BorrowedFd;

use crate::call::Call;

/// The arguments of one call to a method of a [`service!`](crate::service), borrowed until it
/// is made.
///
/// Its [`call`](Self::call) is an ordinary [`Call`], which sets the rest: the deadline, the resend
/// policy, and whether main waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a, M, const FDS: usize> {
    method: u16,
    message: M,
    fds: [BorrowedFd<'a>; FDS],
    reply_fds: usize,
}

impl<'a, M: Encode, const FDS: usize> Args<'a, M, FDS> {
    #[doc(hidden)]
    pub const fn new(
        method: u16,
        message: M,
        fds: [BorrowedFd<'a>; FDS],
        reply_fds: usize,
    ) -> Self {
        Self { method, message, fds, reply_fds }
    }

    /// Returns the call, which may still be given a deadline or a resend policy. It allows its reply
    /// as many descriptors as the method gives.
    pub fn call(&self) -> Call<'_> {
        let reply_fds = u16::try_from(self.reply_fds).unwrap_or(u16::MAX);
        Call::message(self.method, &self.message).fds(&self.fds).reply_fds(reply_fds)
    }
}
