//! One end: its socket, its memory, and what it keeps for itself.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::thread::futex;
use static_assertions::assert_impl_all;

use crate::contract::{Carry, Fds, Moved, Received, SystemError};
use crate::memory::page::SharedPage;
use crate::memory::ring::producer::Producer;
use crate::memory::ring::track::Track;
use crate::unix::blocking::Blocking;
use crate::unix::ring::link::{RingInput, RingLink};
use crate::unix::ring::sender::RingSender;
use crate::unix::ring::side::Side;
use crate::unix::stream::Stream;
use crate::waiting::Patience;

/// One end of a ring in shared memory (mmap(2)) with a socket beside it (unix(7)).
///
/// It costs two copies where a socket costs two and a system call on each side: no call is made
/// unless the peer sleeps. Descriptors go over the socket, in step with their bytes. What the peer
/// writes to the memory is checked as it is read; one that writes nonsense there gets
/// [`TransportError::BrokenRing`](crate::TransportError::BrokenRing).
///
/// Its descriptor is the socket's, and shows input as the contract says: after a call that did not
/// wait has found nothing more.
#[derive(Debug)]
pub struct Ring {
    socket: Stream,
    page: SharedPage,
    end: RingEnd,
}

assert_impl_all!(Ring: Send, Sync);

/// What an end of a ring keeps for itself.
#[derive(Debug)]
pub struct RingEnd {
    side: Side,
    out: Producer,
    owes: AtomicBool,
    input: RingInput,
}

impl Ring {
    /// Makes two connected ends, with room for `bytes` bytes each way, rounded up to a power of two
    /// and at least 64. What is in flight takes eight bytes more for each sending call.
    ///
    /// # Errors
    /// Those of socketpair(2) and memfd_create(2): `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` before
    /// kernel 3.17.
    pub fn pair(bytes: usize) -> Result<(Self, Self), SystemError> {
        let (left, right) = Stream::pair()?;
        let words = RingEnd::page_len(bytes);
        let (page, file) = SharedPage::with_file(words)?;
        let other = SharedPage::of_file(file.as_fd(), words)?;
        let new = |socket, page, side| Self { socket, page, end: RingEnd::new(side) };
        Ok((new(left, page, Side::First), new(right, other, Side::Second)))
    }

    /// Returns a view of the same end whose calls wait for room and for bytes.
    pub const fn blocking(&mut self) -> Blocking<'_, Self> {
        Blocking::new(self)
    }

    /// Bounds how long a [`blocking`](Self::blocking) receive waits; see
    /// [`Unix::set_receive_timeout`](crate::Unix::set_receive_timeout). It may be 20 ms longer, and
    /// twice as long where the peer wakes this end for nothing.
    ///
    /// # Errors
    /// `EINVAL` for no time at all, `EDOM` for one out of range.
    pub fn set_receive_timeout(
        &mut self,
        timeout: core::time::Duration,
    ) -> Result<(), SystemError> {
        self.socket.set_receive_timeout(timeout)
    }

    #[inline]
    fn link(&mut self, patience: Option<Patience>) -> RingLink<'_> {
        self.end.link(self.socket.as_fd(), self.page.words(), patience)
    }
}

impl RingEnd {
    /// A new end. Its words are zero.
    pub const fn new(side: Side) -> Self {
        Self { side, out: Producer::new(), owes: AtomicBool::new(false), input: RingInput::new() }
    }

    /// Returns whether the system lets processes sleep on a word and wake each other (futex(2)).
    pub fn is_possible() -> bool {
        futex::wake(&AtomicU32::new(0), futex::Flags::empty(), 1).is_ok()
    }

    /// Returns whether the socket will show what comes next. It will once a receive that does not
    /// wait has taken all.
    #[inline]
    pub fn shows(&self) -> bool {
        self.input.shows() && !self.owes.load(Relaxed)
    }

    /// Returns how many words a ring takes with so many bytes each way.
    pub const fn page_len(bytes: usize) -> usize {
        Track::page_len(bytes)
    }

    /// Returns the end as a transport, over its socket and its words: so many as
    /// [`page_len`](Self::page_len) says. Without words the socket does all.
    #[inline]
    pub fn link<'a>(
        &'a mut self,
        socket: BorrowedFd<'a>,
        words: &'a [AtomicU32],
        patience: Option<Patience>,
    ) -> RingLink<'a> {
        let Self { side, out, owes, input } = self;
        RingLink::new(RingSender::new(socket, words, *side, out, owes), input, patience)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Carry for Ring {
    #[inline]
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.link(None).send_fds(pieces, fds)
    }

    #[inline]
    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.link(None).receive_fds(space, fds)
    }

    fn holds(&self) -> bool {
        let RingEnd { side, owes, input, .. } = &self.end;
        owes.load(Relaxed) || input.holds(self.page.words(), *side)
    }
}

impl Carry for Blocking<'_, Ring> {
    #[inline]
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.socket.link(self.patience).send_fds(pieces, fds)
    }

    #[inline]
    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.socket.link(self.patience).receive_fds(space, fds)
    }

    fn holds(&self) -> bool {
        self.socket.holds()
    }
}
