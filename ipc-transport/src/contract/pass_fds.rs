//! The capability of carrying file descriptors, for transports that have it.

use static_assertions::assert_obj_safe;

use crate::contract::fds::{FdList, Fds};
use crate::contract::transport::{Moved, Transport, TransportError};
use crate::fd::BorrowedFd;

/// What one call received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes at the start of the space.
    pub len: usize,
    /// Some descriptors did not fit (`MSG_CTRUNC`) and are closed. It may be false where there was
    /// no room for any. The count in a frame's header tells which frame lost them.
    pub fds_truncated: bool,
}

/// A [`Transport`] that also carries descriptors (`SCM_RIGHTS`, unix(7)).
///
/// The contract goes on:
///
/// - Descriptors travel with the first byte that their call sends: `Ok(None)` sends none of them,
///   `Ok(Some(_))` all of them, however few bytes were taken. The sender keeps its own.
/// - Received descriptors are close-on-exec and belong to the receiver. One call gives the
///   descriptors of at most one sending call, and no byte of any later one that carried some.
/// - The receiver never holds more descriptors than it has room for.
/// - Plain [`receive`](Transport::receive) drops the descriptors of the bytes that it takes.
pub trait PassFds: Transport {
    /// Sends bytes as [`Transport::send`] does, with descriptors on the first of them.
    ///
    /// # Errors
    /// Also [`TransportError::TooManyFds`], [`TransportError::Exhausted`] and
    /// [`TransportError::FdsRefused`].
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError>;

    /// Receives bytes as [`Transport::receive`] does, and appends the descriptors that came with
    /// them, as many as `fds` has room for. Others are closed.
    ///
    /// # Errors
    /// As [`Transport::receive`]. No descriptor is appended then.
    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut Fds<'_>,
    ) -> Result<Option<Received>, TransportError>;
}

assert_obj_safe!(PassFds);

/// Both directions of a transport of this crate. What it moves without descriptors it moves with
/// none of them.
#[doc(hidden)]
pub trait Carry {
    /// As [`PassFds::send_with`].
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved;

    /// As [`PassFds::receive_with`].
    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received>;

    /// As [`Transport::holds_input`].
    fn holds(&self) -> bool {
        false
    }
}

impl<C: Carry> Transport for C {
    #[inline]
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        self.send_fds(pieces, &[])
    }

    #[inline]
    fn receive(&mut self, space: &mut [u8]) -> Moved {
        let received = self.receive_fds(space, &mut FdList::<0>::new().fds())?;
        Ok(received.map(|received| received.len))
    }

    fn holds_input(&self) -> bool {
        self.holds()
    }
}

impl<C: Carry> PassFds for C {
    #[inline]
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.send_fds(pieces, fds)
    }

    #[inline]
    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.receive_fds(space, fds)
    }
}
