//! A transport in memory, with no operating system: what one end sends the other receives.

use core::cell::RefCell;

use heapless::Deque;

use crate::contract::transport::{Transport, TransportError};
use crate::memory::riders::Riders;

/// Two rings of `N` bytes, one for each direction. It belongs to one thread.
///
/// With the feature `socket` it also carries descriptors: duplicates, at most 253 a call and 506
/// under way in each direction.
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
pub struct Loopback<const N: usize> {
    there: RefCell<Ring<N>>,
    back: RefCell<Ring<N>>,
}

/// The bytes of one direction, and what rides on them.
pub(crate) struct Ring<const N: usize> {
    bytes: Deque<u8, N>,
    /// How many bytes were ever received.
    position: u64,
    pub(crate) riders: Riders,
    sender_gone: bool,
    receiver_gone: bool,
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        Self {
            bytes: Deque::new(),
            position: 0,
            riders: Riders::new(),
            sender_gone: false,
            receiver_gone: false,
        }
    }

    /// Where the next byte to be received stands in the stream.
    pub(crate) const fn front(&self) -> u64 {
        self.position
    }

    pub(crate) fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        if self.receiver_gone {
            return Err(TransportError::Closed);
        }
        let mut count = 0;
        for &byte in pieces.iter().copied().flatten() {
            if self.bytes.push_back(byte).is_err() {
                break;
            }
            count += 1;
        }
        Ok((count > 0).then_some(count))
    }

    pub(crate) fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        if self.bytes.is_empty() && self.sender_gone {
            return Err(TransportError::Closed);
        }
        let mut count = 0;
        for place in space {
            let Some(byte) = self.bytes.pop_front() else { break };
            *place = byte;
            count += 1;
        }
        self.position += u64::try_from(count).unwrap_or(u64::MAX);
        Ok((count > 0).then_some(count))
    }
}

#[cfg(feature = "socket")]
impl<const N: usize> Ring<N> {
    /// Where the next byte to be sent will stand.
    pub(crate) fn back(&self) -> u64 {
        self.position + u64::try_from(self.bytes.len()).unwrap_or(u64::MAX)
    }

    /// Returns whether the other end is gone, so that sending is of no use.
    pub(crate) const fn is_over(&self) -> bool {
        self.receiver_gone
    }
}

impl<const N: usize> Loopback<N> {
    /// Two empty rings.
    pub const fn new() -> Self {
        Self { there: RefCell::new(Ring::new()), back: RefCell::new(Ring::new()) }
    }

    /// Begins anew and returns the two ends. Dropping an end closes it.
    pub fn ends(&mut self) -> (LoopbackEnd<'_, N>, LoopbackEnd<'_, N>) {
        *self = Self::new();
        let left = LoopbackEnd { outgoing: &self.there, incoming: &self.back };
        let right = LoopbackEnd { outgoing: &self.back, incoming: &self.there };
        (left, right)
    }
}

impl<const N: usize> Default for Loopback<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// One end of a [`Loopback`].
pub struct LoopbackEnd<'a, const N: usize> {
    pub(crate) outgoing: &'a RefCell<Ring<N>>,
    pub(crate) incoming: &'a RefCell<Ring<N>>,
}

impl<const N: usize> Transport for LoopbackEnd<'_, N> {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        self.outgoing.borrow_mut().send(pieces)
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        let mut ring = self.incoming.borrow_mut();
        let received = ring.receive(space)?;
        let position = ring.front();
        ring.riders.drop_before(position);
        Ok(received)
    }
}

impl<const N: usize> Drop for LoopbackEnd<'_, N> {
    fn drop(&mut self) {
        self.outgoing.borrow_mut().sender_gone = true;
        let mut incoming = self.incoming.borrow_mut();
        incoming.receiver_gone = true;
        // Nobody will receive them.
        incoming.riders.drop_before(u64::MAX);
    }
}
