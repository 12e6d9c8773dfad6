//! One end: its socket, its memory and its private state.

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

/// One end of a ring in shared memory (mmap(2)), with a companion socket (unix(7)).
///
/// Like a socket it copies each byte twice, but it makes no system call unless the peer sleeps.
/// Descriptors go over the socket, in step with their bytes. Everything that the peer writes to the
/// memory is checked when it is read. If it is impossible, the call fails with
/// [`TransportError::BrokenRing`](crate::TransportError::BrokenRing).
///
/// Its descriptor is the socket's. It shows input as the contract requires, once a nonblocking
/// receive has found nothing more.
#[derive(Debug)]
pub struct Ring {
    socket: Stream,
    page: SharedPage,
    end: RingEnd,
}

assert_impl_all!(Ring: Send, Sync);

/// The private state of one end of a ring.
#[derive(Debug)]
pub struct RingEnd {
    side: Side,
    out: Producer,
    owes: AtomicBool,
    input: RingInput,
}

impl Ring {
    /// Creates two connected ends, with room for `bytes` bytes each way, rounded up to a power of
    /// two of at least 64. Each sending call in flight takes eight bytes of that, and up to seven
    /// of padding.
    ///
    /// # Errors
    /// As socketpair(2) and memfd_create(2): `EMFILE`, `ENFILE`, `ENOMEM`; `ENOSYS` before kernel
    /// 3.17; `EFBIG` if `RLIMIT_FSIZE` is too low for the memory.
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

    /// Limits how long a [`blocking`](Self::blocking) receive waits; see
    /// [`Unix::set_receive_timeout`](crate::Unix::set_receive_timeout). The wait may take 20 ms
    /// longer, and twice as long if the peer causes spurious wake-ups.
    ///
    /// # Errors
    /// `EINVAL` for a timeout of zero, `EDOM` for one out of range.
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

    /// Returns whether the system allows futex(2).
    pub fn is_possible() -> bool {
        futex::wake(&AtomicU32::new(0), futex::Flags::empty(), 1).is_ok()
    }

    /// Returns whether the socket will show the next input. It does once a nonblocking receive has
    /// taken everything.
    #[inline]
    pub fn shows(&self) -> bool {
        self.input.shows() && !self.owes.load(Relaxed)
    }

    /// Returns how many words a ring with `bytes` bytes each way takes.
    pub const fn page_len(bytes: usize) -> usize {
        Track::page_len(bytes)
    }

    /// Returns the end as a transport over its socket and its [`page_len`](Self::page_len) words.
    /// If `words` is empty, everything goes over the socket.
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
