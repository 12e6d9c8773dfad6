//! A transport in memory, with no operating system: what one end sends the other receives.

use core::cell::RefCell;

use heapless::Deque;

use crate::transport::{Transport, TransportError};

/// Two rings of `N` bytes, one for each direction. It belongs to one thread.
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

struct Ring<const N: usize> {
    bytes: Deque<u8, N>,
    closed: bool,
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        Self { bytes: Deque::new(), closed: false }
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
    outgoing: &'a RefCell<Ring<N>>,
    incoming: &'a RefCell<Ring<N>>,
}

impl<const N: usize> Transport for LoopbackEnd<'_, N> {
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        let mut ring = self.outgoing.borrow_mut();
        if ring.closed {
            return Err(TransportError::Closed);
        }
        let mut count = 0;
        for &byte in pieces.iter().copied().flatten() {
            if ring.bytes.push_back(byte).is_err() {
                break;
            }
            count += 1;
        }
        Ok((count > 0).then_some(count))
    }

    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        let mut ring = self.incoming.borrow_mut();
        if ring.closed && ring.bytes.is_empty() {
            return Err(TransportError::Closed);
        }
        let mut count = 0;
        for place in space {
            let Some(byte) = ring.bytes.pop_front() else { break };
            *place = byte;
            count += 1;
        }
        Ok((count > 0).then_some(count))
    }
}

impl<const N: usize> Drop for LoopbackEnd<'_, N> {
    fn drop(&mut self) {
        self.outgoing.borrow_mut().closed = true;
        self.incoming.borrow_mut().closed = true;
    }
}
