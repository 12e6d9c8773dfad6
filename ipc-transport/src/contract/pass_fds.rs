//! The trait of transports that carry file descriptors.

use static_assertions::assert_obj_safe;

use crate::contract::fds::{FdList, Fds};
use crate::contract::transport::{Moved, Transport, TransportError};
use crate::fd::BorrowedFd;

/// What one call received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes received, at the start of the space.
    pub len: usize,
    /// Some descriptors did not fit (`MSG_CTRUNC`) and were closed. It may be false if there was no
    /// room for any. The count in a frame's header shows which frame lost them.
    pub fds_truncated: bool,
}

/// A [`Transport`] that also carries descriptors (`SCM_RIGHTS`, unix(7)).
///
/// In addition to the contract of [`Transport`]:
///
/// - Descriptors travel with the first byte that their call sends. `Ok(None)` sends none of them.
///   `Ok(Some(_))` sends all of them, however few bytes were taken. The sender keeps its own
///   descriptors.
/// - Received descriptors are close-on-exec and belong to the receiver. One receiving call returns
///   the descriptors of at most one sending call, and no bytes from a later call that carried
///   descriptors.
/// - The receiver never opens more descriptors than it has room for.
/// - Plain [`receive`](Transport::receive) closes the descriptors that come with its bytes.
pub trait PassFds: Transport {
    /// Sends bytes as [`Transport::send`] does. The descriptors travel with the first byte.
    ///
    /// # Errors
    /// As [`Transport::send`]; also [`TransportError::TooManyFds`], [`TransportError::Exhausted`]
    /// and [`TransportError::FdsRefused`].
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError>;

    /// Receives bytes as [`Transport::receive`] does, and appends the descriptors that came with
    /// them to `fds`. Descriptors that do not fit are closed.
    ///
    /// # Errors
    /// As [`Transport::receive`]. On an error `fds` is unchanged.
    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut Fds<'_>,
    ) -> Result<Option<Received>, TransportError>;
}

assert_obj_safe!(PassFds);

/// Implements [`Transport`] and [`PassFds`] for the transports of this crate. Plain calls pass an
/// empty list of descriptors.
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
