//! A transport in memory, with no operating system: what one end sends the other receives.

use core::cell::RefCell;

use heapless::{Deque, Vec};
use static_assertions::assert_not_impl_any;

use crate::contract::{Carry, FdList, Fds, MAX_FDS, Moved, Received, TransportError};
use crate::descriptor::duplicate;
use crate::fd::BorrowedFd;

/// Most descriptors in flight in one direction, and most sending calls that brought some.
const HELD: usize = 2 * MAX_FDS;
const CALLS: usize = 32;

/// Two rings of `N` bytes, one for each direction. It belongs to one thread.
///
/// With the feature `socket` it also carries descriptors: duplicates, at most 253 a call and 506
/// in flight in each direction.
///
/// ```
/// use ipc_transport::{Loopback, Transport};
///
/// let mut loopback = Loopback::<64>::new();
/// let (mut left, mut right) = loopback.ends();
/// left.send(&[b"he", b"llo"])?;
/// let mut space = [0; 8];
/// assert_eq!(right.receive(&mut space)?, Some(5));
/// assert_eq!(&space[..5], b"hello");
/// # Ok::<(), ipc_transport::TransportError>(())
/// ```
#[derive(Debug, Default)]
pub struct Loopback<const N: usize> {
    there: RefCell<Ring<N>>,
    back: RefCell<Ring<N>>,
}

/// The bytes of one direction, and the descriptors that travel with them.
#[derive(Debug, Default)]
struct Ring<const N: usize> {
    bytes: Deque<u8, N>,
    /// How many bytes were ever received, wrapping: where in the stream the next one is.
    position: usize,
    fds: FdList<HELD>,
    /// The sending calls that brought the descriptors.
    calls: Deque<Call, CALLS>,
    sender_gone: bool,
    receiver_gone: bool,
}

/// A sending call with descriptors, and where in the stream its bytes begin.
#[derive(Clone, Copy, Debug)]
struct Call {
    start: usize,
    len: usize,
    fd_count: usize,
}

impl<const N: usize> Ring<N> {
    fn send(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        if self.receiver_gone {
            return Err(TransportError::Closed);
        }
        let takes_fds = HELD - self.fds.len() >= fds.len() && !self.calls.is_full();
        if self.bytes.is_full() || !(fds.is_empty() || takes_fds) {
            return Ok(None);
        }
        // All or none.
        let copies: Result<Vec<_, MAX_FDS>, _> = fds.iter().map(|fd| duplicate(*fd)).collect();
        for fd in copies.map_err(TransportError::System)? {
            _ = self.fds.push(fd);
        }
        let start = self.position.wrapping_add(self.bytes.len());
        let offered = pieces.iter().copied().flatten();
        let len = offered.take_while(|byte| self.bytes.push_back(**byte).is_ok()).count();
        if !fds.is_empty() {
            _ = self.calls.push_back(Call { start, len, fd_count: fds.len() });
        }
        Ok(Some(len))
    }

    fn receive(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if space.is_empty() {
            return Ok(None);
        }
        if self.bytes.is_empty() && self.sender_gone {
            return Err(TransportError::Closed);
        }
        let next = self.calls.front().map(|call| (call.start.wrapping_sub(self.position), *call));
        // As with a stream socket, a call ends with the bytes whose descriptors it takes.
        let limit = next.map_or(usize::MAX, |(before, call)| before + call.len);
        let places = space.iter_mut().take(limit);
        let len =
            places.map_while(|place| self.bytes.pop_front().map(|byte| *place = byte)).count();
        self.position = self.position.wrapping_add(len);
        let mut fds_truncated = false;
        if let Some((_, call)) = next.filter(|(before, _)| *before < len) {
            self.calls.pop_front();
            fds_truncated = !self.fds.fds().deliver(call.fd_count, fds);
        }
        Ok((len > 0).then_some(Received { len, fds_truncated }))
    }
}

impl<const N: usize> Loopback<N> {
    /// Two empty rings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts again and returns the two ends. Dropping an end closes it.
    pub fn ends(&mut self) -> (LoopbackEnd<'_, N>, LoopbackEnd<'_, N>) {
        *self = Self::new();
        let left = LoopbackEnd { outgoing: &self.there, incoming: &self.back };
        let right = LoopbackEnd { outgoing: &self.back, incoming: &self.there };
        (left, right)
    }
}

/// One end of a [`Loopback`].
#[derive(Debug)]
pub struct LoopbackEnd<'a, const N: usize> {
    outgoing: &'a RefCell<Ring<N>>,
    incoming: &'a RefCell<Ring<N>>,
}

assert_not_impl_any!(LoopbackEnd<'_, 8>: Send, Sync);

impl<const N: usize> Carry for LoopbackEnd<'_, N> {
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.outgoing.borrow_mut().send(pieces, fds)
    }

    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.incoming.borrow_mut().receive(space, fds)
    }
}

impl<const N: usize> Drop for LoopbackEnd<'_, N> {
    fn drop(&mut self) {
        self.outgoing.borrow_mut().sender_gone = true;
        let mut incoming = self.incoming.borrow_mut();
        incoming.receiver_gone = true;
        incoming.fds.clear();
    }
}
