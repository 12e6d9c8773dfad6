//! A transport in memory, with no operating system: what one end sends the other receives.

use core::cell::RefCell;

use heapless::Deque;
use static_assertions::assert_not_impl_any;

use crate::contract::{Carry, Fds, MAX_FDS, Moved, Received, TransportError};
use crate::fd::BorrowedFd;
use crate::memory::in_flight::{InFlight, Record};

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
    /// How many bytes were ever received: where in the stream the next one is.
    position: u64,
    in_flight: InFlight,
    sender_gone: bool,
    receiver_gone: bool,
}

impl<const N: usize> Ring<N> {
    /// Where in the stream the next byte to be sent will be.
    fn end(&self) -> u64 {
        self.position + u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    fn send(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        let is_offered = pieces.iter().any(|piece| !piece.is_empty());
        if is_offered && self.receiver_gone {
            return Err(TransportError::Closed);
        }
        if !is_offered || self.bytes.is_full() || !self.in_flight.has_room_for(fds.len()) {
            return Ok(None);
        }
        self.in_flight.duplicate(fds)?;
        let (start, mut count) = (self.end(), 0);
        for &byte in pieces.iter().copied().flatten() {
            if self.bytes.push_back(byte).is_err() {
                break;
            }
            count += 1;
        }
        self.in_flight.sent(Record { start, end: self.end(), fd_count: fds.len() });
        Ok(Some(count))
    }

    fn receive(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if space.is_empty() {
            return Ok(None);
        }
        if self.bytes.is_empty() && self.sender_gone {
            return Err(TransportError::Closed);
        }
        let record = self.in_flight.first();
        // As with a stream socket, a call ends with the bytes whose descriptors it takes.
        let limit = record.map_or(u64::MAX, |record| record.end - self.position);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut len = 0;
        for place in space.iter_mut().take(limit) {
            let Some(byte) = self.bytes.pop_front() else { break };
            *place = byte;
            len += 1;
        }
        self.position += u64::try_from(len).unwrap_or(u64::MAX);
        let carries = record.is_some_and(|record| record.start < self.position);
        let fds_truncated = carries && !self.in_flight.deliver(fds);
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
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
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
        incoming.in_flight = InFlight::default();
    }
}
