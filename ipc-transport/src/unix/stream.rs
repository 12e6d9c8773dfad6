//! The stream socket: bytes in order, and descriptors beside them.

use core::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::SocketType;
use static_assertions::assert_impl_all;

use crate::contract::{Fds, Moved, Received, SystemError, TransportError};
use crate::unix::blocking::{Blocking, set_receive_timeout};
use crate::unix::calls::{Calls, close_sending};
use crate::unix::socket::{Mode, Socket};

/// One end of a stream socket of the family `AF_UNIX` (unix(7)).
///
/// Every call asks not to wait by `MSG_DONTWAIT`; the socket's own mode, which another process
/// may share, is never changed. [`blocking`](Self::blocking) gives a view whose calls wait.
#[doc(alias = "SOCK_STREAM")]
#[derive(Debug)]
pub struct Stream {
    calls: Calls,
}

assert_impl_all!(Stream: Send, Sync);

impl Stream {
    /// Makes two connected ends, close-on-exec and at descriptors above 2.
    ///
    /// # Errors
    /// `EMFILE` and `ENFILE`; see socketpair(2).
    #[doc(alias = "socketpair")]
    pub fn pair() -> Result<(Self, Self), SystemError> {
        let (left, right) = Calls::pair(SocketType::STREAM)?;
        Ok((Self { calls: left }, Self { calls: right }))
    }

    /// Returns a view on the same socket whose calls wait for room and for bytes.
    pub fn blocking(&mut self) -> Blocking<'_, Self> {
        Blocking::new(self)
    }

    /// Bounds how long a [`blocking`](Self::blocking) receive waits (`SO_RCVTIMEO`, socket(7)).
    /// Set once, it costs nothing later; the kernel rounds up to its tick.
    ///
    /// # Errors
    /// `EINVAL` for no time at all, `EDOM` for one out of range.
    pub fn set_receive_timeout(&mut self, timeout: Duration) -> Result<(), SystemError> {
        set_receive_timeout(self.as_fd(), timeout)
    }

    /// Returns how many bytes wait to be received (`FIONREAD`, unix(7)).
    pub fn waiting(&self) -> usize {
        // It is a socket, so that this does not fail.
        let waiting = rustix::io::ioctl_fionread(&self.calls.fd).unwrap_or(0);
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }

    /// Ends the sending direction: the peer receives what is in flight and then
    /// [`TransportError::Closed`]. Receiving goes on.
    ///
    /// # Errors
    /// `ENOTCONN` where the peer is gone already.
    pub fn close_sending(&mut self) -> Result<(), SystemError> {
        close_sending(self.as_fd())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.calls.fd.as_fd()
    }
}

impl From<OwnedFd> for Stream {
    /// Takes over a connected stream socket that came from elsewhere, unchecked. Options that add
    /// control messages are switched off.
    fn from(fd: OwnedFd) -> Self {
        Self { calls: Calls::taken_over(fd) }
    }
}

impl Socket for Stream {
    const KIND: SocketType = SocketType::STREAM;

    #[inline]
    fn send_as(&mut self, mode: Mode, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.calls.send(mode, (pieces, usize::MAX), fds)
    }

    #[inline]
    fn receive_as(&mut self, mode: Mode, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if space.is_empty() {
            return Ok(None);
        }
        let received = match fds.room() {
            0 => self.calls.receive(mode, space)?.map(|len| Received { len, fds_truncated: false }),
            _ => self.calls.receive_with(mode, [space], fds)?,
        };
        match received {
            // The kernel gives all data first, then ECONNRESET where the peer left some of ours
            // unread, then the end.
            Some(Received { len: 0, .. }) => Err(TransportError::Closed),
            received => Ok(received),
        }
    }
}
