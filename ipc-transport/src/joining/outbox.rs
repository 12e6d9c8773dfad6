//! Outgoing frames with the descriptors that they own.

use core::ops::Deref;

use heapless::Vec;
use ipc_frame::{FrameNumber, Header, PushError, Queue, Reservation};
use static_assertions::assert_impl_all;

use crate::contract::{FdList, Fds, MAX_FDS, Moved, PassFds, Transport, TransportError};
use crate::fd::{AsFd, BorrowedFd};
use crate::joining::held::Held;

/// The result of [`Outbox::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flushed {
    /// Bytes that were sent.
    pub len: usize,
    /// Everything was sent. If false, the transport would block.
    pub complete: bool,
}

/// A [`Queue`] whose frames own descriptors: at most 253 for all frames together.
///
/// A frame keeps its descriptors until it is retired, so it can be sent again with them.
#[derive(Debug, Default)]
pub struct Outbox<const BYTES: usize, const FRAMES: usize> {
    pub(super) queue: Queue<BYTES, FRAMES>,
    pub(super) held: Held,
}

assert_impl_all!(Outbox<64, 2>: Send, Sync);

impl<const BYTES: usize, const FRAMES: usize> Outbox<BYTES, FRAMES> {
    /// The longest payload, in bytes.
    pub const CAPACITY: usize = Queue::<BYTES, FRAMES>::CAPACITY;

    /// An empty outbox.
    pub const fn new() -> Self {
        Self { queue: Queue::new(), held: Held::new() }
    }

    /// Appends a frame without descriptors.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn push(&mut self, header: Header, pieces: &[&[u8]]) -> Result<FrameNumber, PushError> {
        self.queue.push(header, pieces)
    }

    /// Appends a frame and moves `fds` out of the list into it.
    ///
    /// # Errors
    /// As [`Queue::push_with_fds`]; also [`PushError::Full`] if the descriptors do not fit. On an
    /// error the list is unchanged.
    pub fn push_with(
        &mut self,
        header: Header,
        pieces: &[&[u8]],
        fds: &mut Fds<'_>,
    ) -> Result<FrameNumber, PushError> {
        self.held.begin(fds.len())?;
        let number = self.queue.push_with_fds(header, fds.len(), pieces)?;
        fds.deliver(fds.len(), &mut self.held.staged(fds.len()));
        self.held.commit(number);
        Ok(number)
    }

    /// Reserves room for a payload of up to `len` bytes, to be written in place, and for up to
    /// `fd_count` descriptors.
    ///
    /// # Errors
    /// As [`Queue::reserve`]; also [`PushError::TooManyFds`] for more than 253 descriptors, and
    /// [`PushError::Full`] if they do not fit until frames are retired.
    #[inline]
    pub fn reserve(
        &mut self,
        len: usize,
        fd_count: usize,
    ) -> Result<Room<'_, BYTES, FRAMES>, PushError> {
        self.held.begin(fd_count)?;
        Ok(Room { reservation: self.queue.reserve(len)?, fd_limit: fd_count, outbox: self })
    }

    /// Returns whether a frame with a payload of `len` bytes and `fd_count` descriptors fits now.
    pub fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        self.queue.has_room_for(len) && self.held.check_room(fd_count).is_ok()
    }

    /// Sends until nothing is left or the transport would block. One call can send many frames.
    ///
    /// # Errors
    /// As the transport's send, and [`TransportError::CannotPassFds`] at a frame that owns
    /// descriptors. Frames sent before the error stay sent; the rest stays queued.
    pub fn flush(&mut self, transport: &mut impl Transport) -> Result<Flushed, TransportError> {
        self.flush_by(|pieces, fds| match fds.len() {
            0 => transport.send(pieces),
            count => Err(TransportError::CannotPassFds { count }),
        })
    }

    /// Sends as [`flush`](Self::flush) does, with descriptors. Each frame that owns descriptors
    /// takes one more call.
    ///
    /// # Errors
    /// As the transport's send, and [`TransportError::FdsGone`] at a frame whose descriptors were
    /// taken. Frames sent before the error stay sent; the rest stays queued.
    pub fn flush_with(&mut self, transport: &mut impl PassFds) -> Result<Flushed, TransportError> {
        self.flush_by(|pieces, fds| transport.send_with(pieces, fds))
    }

    #[inline]
    fn flush_by(
        &mut self,
        mut send: impl FnMut(&[&[u8]], &[BorrowedFd<'_>]) -> Moved,
    ) -> Result<Flushed, TransportError> {
        let mut flushed = Flushed { len: 0, complete: true };
        while self.queue.has_unsent() {
            let held = &self.held;
            let sent = self.queue.send_with(|pieces, with_fds| {
                let Some(number) = with_fds else {
                    return send(pieces, &[]);
                };
                let fds = held.complete(number, pieces)?.iter().map(AsFd::as_fd);
                send(pieces, &fds.collect::<Vec<_, MAX_FDS>>())
            })?;
            match sent {
                // Zero is not allowed, but must not cause an endless loop.
                None | Some(0) => return Ok(Flushed { complete: false, ..flushed }),
                Some(len) => flushed.len += len,
            }
        }
        Ok(flushed)
    }

    /// Passes the next unsent frame to `take`, with its descriptors, and counts it as sent. This is
    /// for a receiver in the same process. The bytes stay until the frame is retired; descriptors
    /// that `take` leaves are closed. Returns `None` if no frame is wholly unsent.
    pub fn hand_over<R>(&mut self, take: impl FnOnce(&Header, &[u8], Fds<'_>) -> R) -> Option<R> {
        let (number, frame) = self.queue.next_unsent()?;
        let mut fds = FdList::<MAX_FDS>::new();
        self.held.take(number, &mut fds.fds());
        let answer = take(frame.header(), frame.payload(), fds.fds());
        self.queue.pass_unsent();
        Some(answer)
    }

    /// Withdraws a frame: it is not sent, not even after [`rewind`](Self::rewind), unless it is
    /// already partly sent. It keeps its bytes and descriptors until it is retired; see
    /// [`Queue::withdraw`].
    pub fn withdraw(&mut self, number: FrameNumber) {
        self.queue.withdraw(number);
    }

    /// Moves the descriptors of a [withdrawn](Self::withdraw) frame into `fds`. Closes those that
    /// do not fit.
    pub fn take_fds_of_withdrawn(&mut self, number: FrameNumber, fds: &mut Fds<'_>) {
        self.held.take(number, fds);
    }

    /// Retires a frame whose outcome is known, and closes its descriptors; see [`Queue::retire`].
    pub fn retire(&mut self, number: FrameNumber) {
        self.held.close(number);
        self.queue.retire(number);
    }

    /// Retires all sent frames and closes their descriptors.
    pub fn retire_sent(&mut self) {
        self.queue.retire_sent();
        let queue = &self.queue;
        self.held.close_where(|owner| queue.id(owner).is_none());
    }

    /// Counts all frames as sent, for when the receiver is gone.
    pub fn discard_unsent(&mut self) {
        self.queue.discard_unsent();
    }

    /// Removes all frames and closes their descriptors.
    pub fn clear(&mut self) {
        self.held.close_where(|_| true);
        self.queue.clear();
    }

    /// Empties an outbox that was copied by fork. The descriptors are not closed: in this process
    /// their numbers may have been reused.
    pub fn forget(&mut self) {
        self.held.forget();
        self.queue.clear();
    }

    /// Moves the last pushed frame to the front; see [`Queue::send_first`].
    pub fn send_first(&mut self, number: FrameNumber) -> bool {
        self.queue.send_first(number)
    }

    /// Marks all frames as unsent, for a new receiver; see [`Queue::rewind`].
    pub fn rewind(&mut self) {
        self.queue.rewind();
    }
}

/// Gives shared access to the [`Queue`], which knows the frames and how much of them was sent.
impl<const BYTES: usize, const FRAMES: usize> Deref for Outbox<BYTES, FRAMES> {
    type Target = Queue<BYTES, FRAMES>;

    fn deref(&self) -> &Queue<BYTES, FRAMES> {
        &self.queue
    }
}

/// Reserved room in an outbox for one frame. Dropping it appends nothing and closes its
/// descriptors.
#[derive(Debug)]
pub struct Room<'a, const BYTES: usize, const FRAMES: usize> {
    outbox: &'a mut Outbox<BYTES, FRAMES>,
    reservation: Reservation,
    fd_limit: usize,
}

impl<const BYTES: usize, const FRAMES: usize> Room<'_, BYTES, FRAMES> {
    /// Returns the space for the payload.
    pub fn payload(&mut self) -> &mut [u8] {
        self.outbox.queue.payload_mut(&self.reservation)
    }

    /// Returns the frame's descriptors, with room for the reserved number.
    pub fn fds(&mut self) -> Fds<'_> {
        self.outbox.held.staged(self.fd_limit)
    }

    /// Returns the outbox, to send and retire earlier frames meanwhile. Appending another frame
    /// ends the reservation.
    pub const fn outbox(&mut self) -> &mut Outbox<BYTES, FRAMES> {
        self.outbox
    }

    /// Appends the frame with the first `len` bytes of the space as its payload and with the pushed
    /// descriptors.
    ///
    /// # Errors
    /// [`PushError::TooManyFds`] if frames of this kind carry no descriptors, and
    /// [`PushError::Full`] if the reservation has ended. The descriptors are then closed.
    pub fn commit(self, header: Header, len: usize) -> Result<FrameNumber, PushError> {
        let Outbox { queue, held } = &mut *self.outbox;
        let number = queue.commit(self.reservation, header, held.staged_len(), len)?;
        held.commit(number);
        Ok(number)
    }
}

impl<const BYTES: usize, const FRAMES: usize> Drop for Room<'_, BYTES, FRAMES> {
    #[inline]
    fn drop(&mut self) {
        self.outbox.held.close_staged();
    }
}
