//! Code that both kinds of `AF_UNIX` socket share.

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

/// The state of one kind of socket, and how it sends and receives.
pub trait Kind {
    /// The kind, as socket(2) names it.
    const KIND: SocketType;

    /// The state of a new socket.
    fn new() -> Self;

    /// Sends as [`PassFds::send_with`](crate::PassFds::send_with) does.
    fn send(&mut self, to: Calls<'_>, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved;

    /// Receives as [`PassFds::receive_with`](crate::PassFds::receive_with) does.
    fn receive(&mut self, from: Calls<'_>, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received>;

    /// Answers as [`Transport::holds_input`](crate::Transport::holds_input) does.
    fn holds_input(&self) -> bool {
        false
    }
}

/// One end of a connected `AF_UNIX` socket (unix(7)): a [`Stream`](crate::Stream) or a
/// [`Seqpacket`](crate::Seqpacket).
///
/// No call waits: each passes `MSG_DONTWAIT`. The socket's `O_NONBLOCK` flag, which other processes
/// may share, is never changed. [`blocking`](Self::blocking) returns a view whose calls wait.
#[derive(Debug)]
pub struct Unix<K> {
    fd: OwnedFd,
    kind: K,
}

assert_impl_all!(Unix<()>: Send, Sync);

impl<K: Kind> Unix<K> {
    /// Creates two connected ends, close-on-exec and at descriptors above 2.
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

    /// One end, created by this process.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, kind: K::new() }
    }

    /// Limits how long a [`blocking`](Self::blocking) receive waits (`SO_RCVTIMEO`, socket(7)). It
    /// costs no system call later. The kernel rounds up to its clock tick.
    ///
    /// # Errors
    /// `EINVAL` for a timeout of zero, `EDOM` for one out of range.
    pub fn set_receive_timeout(&mut self, timeout: Duration) -> Result<(), SystemError> {
        set_socket_timeout(&self.fd, Timeout::Recv, Some(timeout))
            .map_err(SystemError::of("setsockopt SO_RCVTIMEO"))
    }

    /// Accepts descriptors (the default) or refuses them (`SO_PASSRIGHTS`, kernel 6.16). While they
    /// are refused, a peer that sends some gets `EPERM`. Older kernels always accept them, and
    /// close those that do not fit during the receiving call. Such a close can block: on a FUSE
    /// file whose server does not answer, or a socket with `SO_LINGER`.
    pub fn pass_rights(&mut self, is_on: bool) {
        pass_rights(self.fd.as_fd(), is_on);
    }

    /// Shuts down the sending direction. The peer receives the bytes in flight and then
    /// [`TransportError::Closed`](crate::TransportError::Closed). Receiving still works.
    ///
    /// # Errors
    /// `ENOTCONN` if the peer is already gone.
    pub fn close_sending(&mut self) -> Result<(), SystemError> {
        rustix::net::shutdown(&self.fd, Shutdown::Write).map_err(SystemError::of("shutdown"))
    }

    /// The socket's state, and its calls in the given mode.
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
    /// Takes over a connected socket without checking its kind. Switches off the options that add
    /// control messages.
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
