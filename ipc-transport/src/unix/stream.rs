//! The stream socket: bytes in order, and descriptors beside them.

use core::time::Duration;

use heapless::VecView;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::SocketType;

use crate::contract::errno::SystemError;
use crate::contract::pass_fds::{PassFds, Received};
use crate::contract::transport::{Transport, TransportError};
use crate::unix::blocking::{Blocking, set_receive_timeout};
use crate::unix::socket::{Answer, Calls, Pace, Socket, close_sending};

/// One end of a stream socket of the family `AF_UNIX` (unix(7)).
///
/// Every call asks not to wait by `MSG_DONTWAIT`; the socket's own mode, which another process
/// may share, is never changed. [`blocking`](Self::blocking) gives a view whose calls wait.
#[doc(alias = "SOCK_STREAM")]
#[derive(Debug)]
pub struct Stream {
    calls: Calls,
}

impl Stream {
    /// Makes two connected ends, close-on-exec and at descriptors above 2.
    ///
    /// # Errors
    /// `EMFILE` and `ENFILE`; see socketpair(2).
    #[doc(alias = "socketpair")]
    pub fn pair() -> Result<(Self, Self), SystemError> {
        let (left, right) = Calls::pair(SocketType::STREAM)?;
        Ok((left.into(), right.into()))
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

    /// Ends the sending direction: the peer receives what is under way and then
    /// [`TransportError::Closed`]. Receiving goes on.
    ///
    /// # Errors
    /// `ENOTCONN` where the peer is gone already.
    pub fn close_sending(&mut self) -> Result<(), SystemError> {
        close_sending(self.as_fd())
    }

    /// Returns how many calls a signal has interrupted; each was made again.
    pub const fn interruptions(&self) -> u64 {
        self.calls.interruptions
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.calls.fd.as_fd()
    }
}

impl From<OwnedFd> for Stream {
    /// Takes over a connected stream socket that came from elsewhere, unchecked.
    fn from(fd: OwnedFd) -> Self {
        Self { calls: Calls::new(fd) }
    }
}

impl Socket for Stream {
    const KIND: SocketType = SocketType::STREAM;

    #[inline]
    fn send_at(
        &mut self,
        pace: Pace,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        self.calls.send(pace, (pieces, usize::MAX), fds)
    }

    #[inline]
    fn receive_at(
        &mut self,
        pace: Pace,
        space: &mut [u8],
        fds: Option<&mut VecView<OwnedFd>>,
    ) -> Result<Option<Received>, TransportError> {
        if space.is_empty() {
            return Ok(None);
        }
        let answer = match fds {
            Some(fds) => self.calls.receive_with(pace, [space], Some(fds)),
            None => self.calls.receive(pace, space),
        };
        match answer? {
            Answer::Bytes(received) => Ok(Some(received)),
            Answer::Nothing => Ok(None),
            // The kernel gives all data first, then ECONNRESET where the peer left some of ours
            // unread, then the end.
            Answer::Empty | Answer::Reset => Err(TransportError::Closed),
        }
    }
}

impl Transport for Stream {
    #[inline]
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.send_at(Pace::Now, pieces, &[])
    }

    #[inline]
    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        Ok(self.receive_at(Pace::Now, space, None)?.map(|received| received.len))
    }
}

impl PassFds for Stream {
    #[inline]
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        self.send_at(Pace::Now, pieces, fds)
    }

    #[inline]
    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<Option<Received>, TransportError> {
        self.receive_at(Pace::Now, space, Some(fds))
    }
}
