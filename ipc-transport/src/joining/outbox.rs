//! Outgoing frames with the descriptors that they own.

use heapless::deque::{Deque, DequeView};
use heapless::{Vec, VecView};
use ipc_frame::{Frame, FrameNumber, Header, MAX_FDS, PushError, Queue, Reservation};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::contract::pass_fds::PassFds;
use crate::contract::transport::TransportError;

/// Most descriptors that an outbox holds for its frames together.
const HELD: usize = 256;

type Held = Deque<(FrameNumber, Option<OwnedFd>), HELD>;

/// What [`Outbox::flush`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Bytes that went out.
    pub len: usize,
    /// Everything went out; otherwise the transport would block.
    pub complete: bool,
}

/// A [`Queue`] whose frames own descriptors: at most 256 at a time, all frames together.
///
/// A frame keeps its descriptors until it is retired, so that it can be sent again with them.
pub struct Outbox<const BYTES: usize, const FRAMES: usize> {
    queue: Queue<BYTES, FRAMES>,
    /// In the order of the frames; `None` where the frame is retired or handed over.
    fds: Held,
}

impl<const BYTES: usize, const FRAMES: usize> Outbox<BYTES, FRAMES> {
    /// Bytes of payload in the longest frame that is taken.
    pub const CAPACITY: usize = Queue::<BYTES, FRAMES>::CAPACITY;

    /// An empty outbox.
    pub const fn new() -> Self {
        Self { queue: Queue::new(), fds: Deque::new() }
    }

    /// Appends a frame without descriptors.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn push(&mut self, header: Header, pieces: &[&[u8]]) -> Result<FrameNumber, PushError> {
        self.queue.push(header, pieces)
    }

    /// Appends a frame that owns `fds`, which are taken out of the list.
    ///
    /// # Errors
    /// As [`Queue::push_with_fds`], and [`PushError::Full`] where there is no room for the
    /// descriptors. The list is untouched then.
    pub fn push_with(
        &mut self,
        header: Header,
        pieces: &[&[u8]],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<FrameNumber, PushError> {
        let fd_count = fds.len();
        if fd_count > HELD - self.fds.len() && fd_count <= usize::from(MAX_FDS) {
            return Err(PushError::Full);
        }
        let number = self.queue.push_with_fds(header, fd_count, pieces)?;
        hold(&mut self.fds, number, fds);
        Ok(number)
    }

    /// Finds room for a payload of up to `len` bytes that is to be written in place, and for up to
    /// `fd_count` descriptors, at most 253.
    ///
    /// # Errors
    /// As [`Queue::reserve`], and [`PushError::Full`] where there is no room for the descriptors.
    pub fn reserve(
        &mut self,
        len: usize,
        fd_count: usize,
    ) -> Result<Room<'_, BYTES, FRAMES>, PushError> {
        if fd_count > HELD - self.fds.len() {
            return Err(PushError::Full);
        }
        let reservation = self.queue.reserve(len)?;
        Ok(Room { reservation, fds: &mut self.fds, fd_count: fd_count.min(usize::from(MAX_FDS)) })
    }

    /// Returns whether a frame of such a payload and so many descriptors would be taken now.
    pub fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        self.queue.has_room_for(len) && fd_count <= HELD - self.fds.len()
    }

    /// Sends until nothing is left or the transport would block: one system call for many
    /// frames, and one more for each frame with descriptors.
    ///
    /// # Errors
    /// Those of the transport. What was sent before stays sent; the rest stays queued.
    pub fn flush(&mut self, transport: &mut impl PassFds) -> Result<Flushed, TransportError> {
        let mut flushed = Flushed { len: 0, complete: true };
        while self.queue.has_unsent() {
            let fds = &self.fds;
            let sent = self.queue.send_with(|batch| match batch.with_fds() {
                None => transport.send(batch.pieces()),
                Some(number) => transport.send_with(batch.pieces(), &owned_by(fds, number)),
            })?;
            match sent {
                Some(len) => flushed.len += len,
                None => return Ok(Flushed { complete: false, ..flushed }),
            }
        }
        Ok(flushed)
    }

    /// Returns the first frame that was not sent at all; see [`Queue::next_unsent`].
    pub fn next_unsent(&mut self) -> Option<(FrameNumber, Frame<'_>)> {
        self.queue.next_unsent()
    }

    /// Returns the ids of the frames that are not retired, in order; see [`Queue::ids`].
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.queue.ids()
    }

    /// Hands over the descriptors of a frame that goes another way than through a transport.
    pub fn take_fds(&mut self, number: FrameNumber, taken: &mut DequeView<OwnedFd>) {
        for (owner, fd) in &mut self.fds {
            if *owner == number {
                // Without room it is dropped, and so closed.
                _ = fd.take().map(|fd| taken.push_back(fd));
            }
        }
    }

    /// Counts the next frame as sent; see [`Queue::pass_unsent`].
    pub fn pass_unsent(&mut self) {
        self.queue.pass_unsent();
    }

    /// Lets go of a frame and closes its descriptors; see [`Queue::retire`].
    pub fn retire(&mut self, number: FrameNumber) {
        if !self.fds.is_empty() {
            for (owner, fd) in &mut self.fds {
                if *owner == number {
                    *fd = None;
                }
            }
            self.drop_empty();
        }
        self.queue.retire(number);
    }

    /// Lets go of every frame that is sent and closes their descriptors.
    pub fn retire_sent(&mut self) {
        if !self.fds.is_empty() {
            for (owner, fd) in &mut self.fds {
                if self.queue.is_sent(*owner) {
                    *fd = None;
                }
            }
            self.drop_empty();
        }
        self.queue.retire_sent();
    }

    /// Counts everything as sent: nobody is there to receive it.
    pub fn discard_unsent(&mut self) {
        self.queue.discard_unsent();
    }

    /// Empties the outbox of a process that was forked from its owner: the descriptors are not
    /// closed, since in this process their numbers are not the outbox's any more.
    pub fn forget(&mut self) {
        while let Some((_, fd)) = self.fds.pop_front() {
            core::mem::forget(fd);
        }
        self.queue.clear();
    }

    /// Begins anew for another receiver; see [`Queue::rewind`].
    pub fn rewind(&mut self) {
        self.queue.rewind();
    }

    /// Returns whether any of the frame went out; see [`Queue::is_begun`].
    pub fn is_begun(&self, number: FrameNumber) -> bool {
        self.queue.is_begun(number)
    }

    /// Returns whether all of the frame went out; see [`Queue::is_sent`].
    pub fn is_sent(&self, number: FrameNumber) -> bool {
        self.queue.is_sent(number)
    }

    /// Returns whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        self.queue.has_unsent()
    }

    /// Returns whether any frame that is not retired went out; see [`Queue::has_sent`].
    pub fn has_sent(&self) -> bool {
        self.queue.has_sent()
    }

    fn drop_empty(&mut self) {
        while self.fds.front().is_some_and(|(_, fd)| fd.is_none()) {
            self.fds.pop_front();
        }
    }
}

impl<const BYTES: usize, const FRAMES: usize> Default for Outbox<BYTES, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

/// Room in an outbox for one frame. Dropping it appends nothing.
pub struct Room<'a, const BYTES: usize, const FRAMES: usize> {
    reservation: Reservation<'a, BYTES, FRAMES>,
    fds: &'a mut Held,
    fd_count: usize,
}

impl<const BYTES: usize, const FRAMES: usize> Room<'_, BYTES, FRAMES> {
    /// Returns the room for the payload.
    pub fn payload(&mut self) -> &mut [u8] {
        self.reservation.payload()
    }

    /// Appends the frame with the first `len` bytes of the room as its payload and with `fds`,
    /// which are taken out of the list. Those beyond what was reserved are closed.
    ///
    /// # Errors
    /// As [`Reservation::commit_with_fds`]. The list is untouched then, but for those closed.
    pub fn commit(
        self,
        header: Header,
        len: usize,
        fds: &mut VecView<OwnedFd>,
    ) -> Result<FrameNumber, PushError> {
        fds.truncate(self.fd_count);
        let number = self.reservation.commit_with_fds(header, fds.len(), len)?;
        hold(self.fds, number, fds);
        Ok(number)
    }
}

fn hold(held: &mut Held, number: FrameNumber, fds: &mut VecView<OwnedFd>) {
    for fd in fds.drain(..) {
        _ = held.push_back((number, Some(fd)));
    }
}

fn owned_by(fds: &Held, number: FrameNumber) -> Vec<BorrowedFd<'_>, HELD> {
    fds.iter()
        .filter(|(owner, _)| *owner == number)
        .filter_map(|(_, fd)| fd.as_ref().map(AsFd::as_fd))
        .collect()
}
