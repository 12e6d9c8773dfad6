//! An in-memory transport that needs no operating system.

use core::cell::RefCell;

use heapless::{Deque, Vec};
use static_assertions::assert_not_impl_any;

use crate::contract::{Carry, FdList, Fds, MAX_FDS, Moved, Received, TransportError};
use crate::descriptor::duplicate;
use crate::fd::BorrowedFd;

/// The most descriptors in flight in one direction.
const HELD: usize = 2 * MAX_FDS;

/// A pair of in-memory queues of `N` bytes, one for each direction. Each byte takes three bytes of
/// memory. Both ends belong to one thread.
///
/// With the feature `socket` it also carries descriptors, which it duplicates: at most 253 per call
/// and 506 in flight in each direction.
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
    /// The bytes. The first byte of each sending call also has its number of descriptors.
    bytes: Deque<(u8, Option<u8>), N>,
    fds: FdList<HELD>,
    sender_gone: bool,
}

impl<const N: usize> Loopback<N> {
    /// Creates a loopback with nothing in flight.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops everything in flight and returns two new ends. Dropping an end closes it.
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
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        // The receiver is gone.
        if self.incoming.borrow().sender_gone {
            return Err(TransportError::Closed);
        }
        let ring = &mut *self.outgoing.borrow_mut();
        if ring.bytes.is_full() || ring.fds.fds().room() < fds.len() {
            return Ok(None);
        }
        // Either all are duplicated or none is sent.
        let copies: Result<Vec<_, MAX_FDS>, _> = fds.iter().map(|fd| duplicate(*fd)).collect();
        for fd in copies.map_err(TransportError::System)? {
            _ = ring.fds.fds().push(fd);
        }
        // The count fits.
        let mut brought = u8::try_from(fds.len()).ok();
        let offered = pieces.iter().copied().flatten();
        let taken = offered
            .take_while(|byte| ring.bytes.push_back((**byte, brought.take())).is_ok())
            .count();
        Ok(Some(taken))
    }

    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        let ring = &mut *self.incoming.borrow_mut();
        if space.is_empty() {
            return Ok(None);
        }
        if ring.bytes.is_empty() && ring.sender_gone {
            return Err(TransportError::Closed);
        }
        let (mut len, mut fd_count) = (0, 0);
        for place in space {
            // As with a stream socket, a receive stops before the next byte that brought
            // descriptors.
            let is_next = |(_, brought): &mut (u8, Option<u8>)| fd_count == 0 || brought.is_none();
            let Some((byte, brought)) = ring.bytes.pop_front_if(is_next) else { break };
            *place = byte;
            len += 1;
            fd_count += usize::from(brought.unwrap_or(0));
        }
        let fds_truncated = !ring.fds.fds().deliver(fd_count, fds);
        Ok((len > 0).then_some(Received { len, fds_truncated }))
    }
}

impl<const N: usize> Drop for LoopbackEnd<'_, N> {
    fn drop(&mut self) {
        self.outgoing.borrow_mut().sender_gone = true;
        self.incoming.borrow_mut().fds = FdList::new();
    }
}
