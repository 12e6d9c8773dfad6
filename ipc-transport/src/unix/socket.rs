//! What both kinds of `AF_UNIX` socket have in common.

use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use static_assertions::assert_impl_all;

use crate::contract::{Carry, Fds, Moved, Received, SystemError};
use crate::descriptor::above_stdio;
use crate::unix::calls::{Calls, Mode};
use crate::unix::options::{pass_rights, switch_off_extras};

/// A kind of `AF_UNIX` socket that carries bytes and descriptors: [`Stream`](crate::Stream) or
/// [`Seqpacket`](crate::Seqpacket). No other crate can implement it.
pub trait Socket: AsFd + From<OwnedFd> {
    /// The kind, as socket(2) names it.
    #[doc(hidden)]
    const KIND: SocketType;
}

/// What one kind of socket keeps, and how it sends and receives.
pub trait Kind {
    /// The kind, as socket(2) names it.
    const KIND: SocketType;

    /// What a new socket keeps.
    fn new() -> Self;

    /// Sends as [`PassFds::send_with`](crate::PassFds::send_with) does.
    fn send(&mut self, to: Calls<'_>, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved;

    /// Receives as [`PassFds::receive_with`](crate::PassFds::receive_with) does.
    fn receive(&mut self, from: Calls<'_>, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received>;

    /// Tells as [`Transport::holds_input`](crate::Transport::holds_input) does.
    fn holds_input(&self) -> bool {
        false
    }
}

/// One end of a connected `AF_UNIX` socket (unix(7)): a [`Stream`](crate::Stream) or a
/// [`Seqpacket`](crate::Seqpacket).
///
/// Every call asks not to wait by `MSG_DONTWAIT`; the socket's own mode, which another process
/// may share, is never changed. [`blocking`](Self::blocking) gives a view whose calls wait.
#[derive(Debug)]
pub struct Unix<K> {
    fd: OwnedFd,
    kind: K,
}

assert_impl_all!(Unix<()>: Send, Sync);

impl<K: Kind> Unix<K> {
    /// Makes two connected ends, close-on-exec and at descriptors above 2.
    ///
    /// # Errors
    /// `EMFILE` and `ENFILE`; see socketpair(2).
    #[doc(alias = "socketpair")]
    pub fn pair() -> Result<(Self, Self), SystemError> {
        let flags = SocketFlags::CLOEXEC;
        let (left, right) = rustix::net::socketpair(AddressFamily::UNIX, K::KIND, flags, None)
            .map_err(SystemError::of("socketpair"))?;
        Ok((Self::new(above_stdio(left)?), Self::new(above_stdio(right)?)))
    }

    /// One end, made by this process.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, kind: K::new() }
    }

    /// Bounds how long a [`blocking`](Self::blocking) receive waits (`SO_RCVTIMEO`, socket(7)).
    /// Set once, it costs nothing later; the kernel rounds up to its tick.
    ///
    /// # Errors
    /// `EINVAL` for no time at all, `EDOM` for one out of range.
    pub fn set_receive_timeout(&mut self, timeout: Duration) -> Result<(), SystemError> {
        set_socket_timeout(&self.fd, Timeout::Recv, Some(timeout))
            .map_err(SystemError::of("setsockopt SO_RCVTIMEO"))
    }

    /// Refuses descriptors, or lets them come, as at first (`SO_PASSRIGHTS`, kernel 6.16): while
    /// they are refused, a peer that sends some gets `EPERM`. Older kernels let them come in any
    /// case, and close in the receiving call those that have no room. That can block: a FUSE file
    /// whose server does not answer, a socket with `SO_LINGER`.
    pub fn pass_rights(&mut self, is_on: bool) {
        pass_rights(self.fd.as_fd(), is_on);
    }

    /// Ends the sending direction: the peer receives what is in flight and then
    /// [`TransportError::Closed`](crate::TransportError::Closed). Receiving goes on.
    ///
    /// # Errors
    /// `ENOTCONN` where the peer is gone already.
    pub fn close_sending(&mut self) -> Result<(), SystemError> {
        rustix::net::shutdown(&self.fd, Shutdown::Write).map_err(SystemError::of("shutdown"))
    }

    /// The kind, and the calls that it makes in the mode.
    #[inline]
    pub(super) fn in_mode(&mut self, mode: Mode) -> (&mut K, Calls<'_>) {
        (&mut self.kind, Calls { fd: self.fd.as_fd(), mode })
    }
}

impl<K> AsFd for Unix<K> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<K: Kind> From<OwnedFd> for Unix<K> {
    /// Takes over a connected socket of the kind that came from elsewhere, unchecked. Options that
    /// add control messages are switched off.
    fn from(fd: OwnedFd) -> Self {
        switch_off_extras(fd.as_fd());
        Self::new(fd)
    }
}

impl<K: Kind> Socket for Unix<K> {
    const KIND: SocketType = K::KIND;
}

impl<K: Kind> Carry for Unix<K> {
    #[inline]
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        let (kind, calls) = self.in_mode(Mode::NonBlocking);
        kind.send(calls, pieces, fds)
    }

    #[inline]
    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        let (kind, calls) = self.in_mode(Mode::NonBlocking);
        kind.receive(calls, space, fds)
    }

    fn holds(&self) -> bool {
        self.kind.holds_input()
    }
}
