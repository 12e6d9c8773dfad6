//! Outgoing frames, kept until they are retired, so that they can be sent again.

use core::fmt;
use core::ops::Range;

use static_assertions::assert_impl_all;

use crate::decode::Frame;
use crate::header::Header;

mod batch;
mod kept;
mod reservation;
mod ring;

pub use batch::Batch;
pub use reservation::{PushError, Reservation};
use ring::{Entry, Ring};

/// The number of a frame in its queue, in the order of pushing, wrapping. No number comes twice
/// before 2³² pushes, also after [`Queue::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameNumber(u32);

/// A queue of at most `FRAMES` frames in a ring of `BYTES` bytes.
///
/// [`push`](Self::push) adds a frame, [`send_with`](Self::send_with) sends it, and
/// [`retire`](Self::retire) removes it. Until it is retired it can be sent again after
/// [`rewind`](Self::rewind). Each frame lies in one piece, so a frame that does not fit before the
/// end of the ring leaves those bytes unused. An empty queue always takes a frame of `BYTES` bytes.
///
/// A value whose bytes are all zero is the empty queue, equal to [`new`](Self::new).
pub struct Queue<const BYTES: usize, const FRAMES: usize> {
    bytes: [u8; BYTES],
    entries: Ring<FRAMES>,
    /// The number of the entry at the front.
    first: u32,
    /// The entry that is sent next, and how much of it went out already. Sending does not pass
    /// over it, unless it is half sent.
    cursor: usize,
    offset: usize,
    fd_sequence: u32,
}

assert_impl_all!(Queue<64, 2>: Send, Sync);

impl<const BYTES: usize, const FRAMES: usize> Queue<BYTES, FRAMES> {
    /// Bytes of payload in the longest frame that the queue takes.
    pub const CAPACITY: usize = BYTES - Header::SIZE;

    /// An empty queue.
    pub const fn new() -> Self {
        const { assert!(BYTES >= Header::SIZE, "a queue holds at least a header") };
        const { assert!(BYTES <= 0x7fff_ffff, "lengths fit in 31 bits") };
        Self {
            bytes: [0; BYTES],
            entries: Ring::new(),
            first: 0,
            cursor: 0,
            offset: 0,
            fd_sequence: 0,
        }
    }

    /// Appends a frame without descriptors whose payload is the pieces, one after the other.
    ///
    /// # Errors
    /// Nothing is appended then: [`PushError::TooLong`] for a frame that never fits,
    /// [`PushError::Full`] for one that fits once others are retired.
    pub fn push(&mut self, header: Header, pieces: &[&[u8]]) -> Result<FrameNumber, PushError> {
        self.push_with_fds(header, 0, pieces)
    }

    /// Appends a frame as [`push`](Self::push) does, with `fd_count` descriptors that the caller
    /// keeps and sends together with it; see [`Batch::with_fds`].
    ///
    /// # Errors
    /// As [`push`](Self::push), and before these [`PushError::TooManyFds`] and
    /// [`PushError::FdsNotAllowed`].
    pub fn push_with_fds(
        &mut self,
        header: Header,
        fd_count: usize,
        pieces: &[&[u8]],
    ) -> Result<FrameNumber, PushError> {
        let fd_count = reservation::fds_of(header, fd_count)?;
        let len = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        let mut reservation = self.reserve(len)?;
        let mut rest = reservation.payload();
        for piece in pieces {
            let (place, after) = rest.split_at_mut_checked(piece.len()).unwrap_or_default();
            place.copy_from_slice(piece);
            rest = after;
        }
        Ok(reservation.append(header, fd_count, len))
    }

    /// Finds room for a payload of up to `len` bytes that is to be written in place.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, BYTES, FRAMES>, PushError> {
        if len > Self::CAPACITY {
            return Err(PushError::TooLong { len, capacity: Self::CAPACITY });
        }
        let start = self.room_for(len).ok_or(PushError::Full)?;
        Ok(Reservation { queue: self, start, len })
    }

    /// Returns whether a frame with a payload of `len` bytes would be taken now.
    pub fn has_room_for(&self, len: usize) -> bool {
        len <= Self::CAPACITY && self.room_for(len).is_some()
    }

    /// Offers the next bytes to `send`, which returns how many of them it took, or `None` if it
    /// would block. Returns what `send` returned, and `Ok(None)` if there is nothing to send.
    ///
    /// A frame with descriptors begins a new batch and is stamped with their sequence; frames
    /// without any may follow in the same batch. Frames that are retired or withdrawn are passed
    /// over unless they are half sent.
    ///
    /// # Errors
    /// Only those of `send`; nothing counts as sent then.
    pub fn send_with<E>(
        &mut self,
        send: impl FnOnce(&Batch<'_>) -> Result<Option<usize>, E>,
    ) -> Result<Option<usize>, E> {
        let Some(entry) = self.entries.get(self.cursor) else {
            return Ok(None);
        };
        if entry.fd_count > 0 && self.offset == 0 {
            let header = self.bytes.get_mut(entry.start..).unwrap_or_default();
            Header::stamp_fd_sequence(header, self.fd_sequence);
        }
        let sent = send(&self.batch())?;
        self.sent(sent.unwrap_or(0));
        Ok(sent)
    }

    /// Returns the first frame that was not sent at all; `None` where a frame is half sent.
    pub fn next_unsent(&self) -> Option<(FrameNumber, Frame<'_>)> {
        let entry = self.entries.get(self.cursor).filter(|_| self.offset == 0)?;
        Some((self.number_of(self.cursor), self.frame_of(entry)?))
    }

    /// Counts the frame that [`next_unsent`](Self::next_unsent) returned as sent: it was handed
    /// over by other means than bytes.
    pub fn pass_unsent(&mut self) {
        if let Some(entry) = self.entries.get_mut(self.cursor).filter(|_| self.offset == 0) {
            entry.begun = true;
            self.cursor += 1;
            self.reclaim();
        }
    }

    /// Counts everything as sent: the receiver is gone.
    pub fn discard_unsent(&mut self) {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            entry.begun |= !entry.is_passed_over();
            self.cursor += 1;
        }
        self.offset = 0;
        self.reclaim();
    }

    /// Retires a frame whose outcome is known. Its room is free once those before it are retired
    /// too. A number that names no frame of the queue is ignored.
    pub fn retire(&mut self, number: FrameNumber) {
        let entry = self.index_of(number).and_then(|index| self.entries.get_mut(index));
        if let Some(entry) = entry {
            entry.retired = true;
        }
        self.reclaim();
    }

    /// Retires every frame that is sent.
    pub fn retire_sent(&mut self) {
        for index in 0..self.cursor {
            if let Some(entry) = self.entries.get_mut(index) {
                entry.retired |= entry.begun;
            }
        }
        self.reclaim();
    }

    /// Drops all frames. Their numbers name no frame from then on.
    pub fn clear(&mut self) {
        self.first = self.number_of(self.entries.count).0;
        self.entries.count = 0;
        self.cursor = 0;
        self.offset = 0;
        self.fd_sequence = 0;
    }

    /// Starts again for another receiver: all kept frames that are not withdrawn count as unsent,
    /// and the descriptors' sequence starts at zero. Requests of which any byte had gone out are
    /// marked as sent before; see [`Header::is_resent`].
    pub fn rewind(&mut self) {
        for index in 0..self.entries.count {
            let Some(entry) = self.entries.get_mut(index) else { break };
            if entry.begun && !entry.withdrawn {
                Header::stamp_resent(self.bytes.get_mut(entry.start..).unwrap_or_default());
            }
            entry.begun = false;
        }
        self.cursor = 0;
        self.offset = 0;
        self.fd_sequence = 0;
        self.reclaim();
    }

    /// Returns whether any byte of the frame went out since the last [`rewind`](Self::rewind), or
    /// the frame is not kept any more.
    pub fn is_begun(&self, number: FrameNumber) -> bool {
        self.kept(number).is_none_or(|(_, entry)| entry.begun)
    }

    /// Returns whether all of the frame went out since the last [`rewind`](Self::rewind), or the
    /// frame is not kept any more.
    pub fn is_sent(&self, number: FrameNumber) -> bool {
        self.kept(number).is_none_or(|(index, entry)| entry.begun && index < self.cursor)
    }

    /// Returns whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        // Sending does not pass over what the cursor points at.
        self.cursor < self.entries.count
    }

    /// Returns whether any byte of a kept frame went out since the last [`rewind`](Self::rewind).
    pub fn has_sent(&self) -> bool {
        let mut begun = (0..=self.cursor).filter_map(|index| self.entries.get(index));
        begun.any(|entry| entry.begun && !entry.retired)
    }

    /// Returns whether no frame is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.count == 0
    }

    fn number_of(&self, index: usize) -> FrameNumber {
        // An index is below FRAMES, and a queue of 2^32 frames does not fit in memory.
        FrameNumber(self.first.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    fn index_of(&self, number: FrameNumber) -> Option<usize> {
        let index = usize::try_from(number.0.wrapping_sub(self.first)).ok()?;
        (index < self.entries.count).then_some(index)
    }

    fn kept(&self, number: FrameNumber) -> Option<(usize, &Entry)> {
        let index = self.index_of(number)?;
        let entry = self.entries.get(index).filter(|entry| !entry.retired)?;
        Some((index, entry))
    }

    fn frame_of(&self, entry: &Entry) -> Option<Frame<'_>> {
        let bytes = self.bytes.get(entry.start..entry.start + entry.len)?;
        let (header, payload) = bytes.split_first_chunk()?;
        // A header of the queue's own is always accepted.
        Some(Frame::new(Header::decode(header).ok()?, payload))
    }

    /// Where a frame with such a payload would start.
    fn room_for(&self, len: usize) -> Option<usize> {
        let len = Header::SIZE + len;
        if self.entries.count == FRAMES {
            return None;
        }
        let (Some(front), Some(back)) =
            (self.entries.get(0), self.entries.get(self.entries.count.wrapping_sub(1)))
        else {
            return (len <= BYTES).then_some(0);
        };
        let end = back.start + back.len;
        if back.start < front.start {
            (len <= front.start - end).then_some(end)
        } else if len <= BYTES - end {
            Some(end)
        } else {
            (len <= front.start).then_some(0)
        }
    }

    fn batch(&self) -> Batch<'_> {
        let Some(first) = self.entries.get(self.cursor) else {
            return Batch::new(None);
        };
        let has_fds = first.fd_count > 0 && self.offset == 0;
        let mut batch = Batch::new(has_fds.then(|| self.number_of(self.cursor)));
        let mut run = first.start + self.offset..first.start + first.len;
        for index in self.cursor + 1..self.entries.count {
            let Some(entry) = self.entries.get(index).filter(|entry| entry.fd_count == 0) else {
                break;
            };
            if entry.is_passed_over() {
                continue;
            }
            if run.end != entry.start {
                if !batch.add(self.piece(run)) {
                    return batch;
                }
                run = entry.start..entry.start;
            }
            run.end = entry.start + entry.len;
        }
        batch.add(self.piece(run));
        batch
    }

    fn piece(&self, run: Range<usize>) -> &[u8] {
        self.bytes.get(run).unwrap_or_default()
    }

    /// Moves the cursor over `len` bytes that went out, and over what is not to be sent.
    fn sent(&mut self, mut len: usize) {
        while let Some(entry) = self.entries.get_mut(self.cursor) {
            if entry.is_passed_over() && self.offset == 0 {
                self.cursor += 1;
                continue;
            } else if len == 0 {
                break;
            } else if self.offset == 0 {
                self.fd_sequence = self.fd_sequence.wrapping_add(u32::from(entry.fd_count));
            }
            entry.begun = true;
            let rest = entry.len - self.offset;
            if len < rest {
                self.offset += len;
                return;
            }
            len -= rest;
            self.cursor += 1;
            self.offset = 0;
        }
        self.reclaim();
    }

    /// Passes over what is not to be sent, and frees the room of what is retired in front.
    fn reclaim(&mut self) {
        while self.offset == 0
            && self.entries.get(self.cursor).is_some_and(|entry| entry.is_passed_over())
        {
            self.cursor += 1;
        }
        while self.cursor > 0 && self.entries.get(0).is_some_and(|entry| entry.retired) {
            self.entries.pop();
            self.first = self.first.wrapping_add(1);
            self.cursor -= 1;
        }
    }
}

impl<const BYTES: usize, const FRAMES: usize> Default for Queue<BYTES, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

/// Prints the state, not the bytes.
impl<const BYTES: usize, const FRAMES: usize> fmt::Debug for Queue<BYTES, FRAMES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries: Ring { count, .. }, first, cursor, offset, .. } = self;
        let cursor = format_args!("frame {cursor}, byte {offset}");
        write!(f, "Queue {{ frames: {count}, first: {first}, next: {cursor} }}")
    }
}

#[cfg(test)]
mod tests;
