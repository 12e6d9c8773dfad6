//! The stream socket, which carries bytes and descriptors.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::SocketType;

use crate::contract::{Fds, Moved, Received, TransportError};
use crate::unix::calls::Calls;
use crate::unix::socket::{Kind, Unix};

/// One end of an `AF_UNIX` stream socket (unix(7)).
#[doc(alias = "SOCK_STREAM")]
pub type Stream = Unix<Bytes>;

/// The state of a [`Stream`]: empty.
#[derive(Debug)]
pub struct Bytes;

impl Stream {
    /// Returns how many bytes are ready to be received (`FIONREAD`, unix(7)).
    pub fn waiting(&self) -> usize {
        // This does not fail on a socket.
        let waiting = rustix::io::ioctl_fionread(self.as_fd()).unwrap_or(0);
        usize::try_from(waiting).unwrap_or(usize::MAX)
    }
}

impl Kind for Bytes {
    const KIND: SocketType = SocketType::STREAM;

    fn new() -> Self {
        Self
    }

    #[inline]
    fn send(&mut self, to: Calls<'_>, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        to.send(pieces, usize::MAX, fds)
    }

    #[inline]
    fn receive(&mut self, from: Calls<'_>, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if space.is_empty() {
            return Ok(None);
        }
        let received = match fds.room() {
            0 => from.receive(space),
            _ => from.receive_with([space], fds),
        };
        match received {
            // The kernel returns all data first, then ECONNRESET if the peer left bytes unread,
            // then the end.
            Ok(Some(Received { len: 0, .. })) => Err(TransportError::Closed),
            received => received,
        }
    }
}
