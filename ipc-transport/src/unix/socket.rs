//! What both kinds of `AF_UNIX` socket have in common.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::SocketType;

use crate::contract::{Carry, Fds, Moved, Received};

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It answers at once (`MSG_DONTWAIT`).
    NonBlocking,
    /// It waits for room or for bytes.
    Blocking,
}

/// A kind of `AF_UNIX` socket that carries bytes and descriptors: [`Stream`](crate::Stream) or
/// [`Seqpacket`](crate::Seqpacket). No other crate can implement it.
pub trait Socket: AsFd + From<OwnedFd> {
    /// The kind, as socket(2) names it.
    #[doc(hidden)]
    const KIND: SocketType;

    /// Sends as [`PassFds::send_with`](crate::PassFds::send_with) does.
    #[doc(hidden)]
    fn send_as(&mut self, mode: Mode, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved;

    /// Receives as [`PassFds::receive_with`](crate::PassFds::receive_with) does.
    #[doc(hidden)]
    fn receive_as(&mut self, mode: Mode, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received>;
}

impl<S: Socket> Carry for S {
    #[inline]
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.send_as(Mode::NonBlocking, pieces, fds)
    }

    #[inline]
    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.receive_as(Mode::NonBlocking, space, fds)
    }
}
