//! Outgoing frames, kept until they are retired, so that what was not begun can be sent again.

use core::ops::Range;

use heapless::{Deque, Vec};

use crate::decode::Frame;
use crate::header::Header;

mod message;
mod reservation;

pub use reservation::{PushError, Reservation};

/// Most pieces that one batch is made of. Frames that lie side by side are one piece.
const PIECES: usize = 8;

/// The number of a frame in its queue, in the order of pushing, wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameNumber(u32);

/// What is to be sent next: bytes in pieces, and whose descriptors go with the first of them.
#[derive(Debug)]
pub struct Batch<'a> {
    pieces: Vec<&'a [u8], PIECES>,
    with_fds: Option<FrameNumber>,
}

impl<'a> Batch<'a> {
    /// Returns the bytes, in order.
    pub fn pieces(&self) -> &[&'a [u8]] {
        &self.pieces
    }

    /// Returns the frame that the batch begins with, if descriptors go with its first byte.
    pub const fn with_fds(&self) -> Option<FrameNumber> {
        self.with_fds
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    len: usize,
    fd_count: u16,
    retired: bool,
}

/// A queue of at most `FRAMES` frames in a ring of `BYTES` bytes.
///
/// Frames go in at [`push`](Self::push), out at [`send_with`](Self::send_with), and away at
/// [`retire`](Self::retire). Between sending and retiring they can be sent again after
/// [`rewind`](Self::rewind). Each frame lies in one piece, so that a frame that wraps leaves the
/// bytes before it unused; an empty queue always takes a frame of `BYTES` bytes.
pub struct Queue<const BYTES: usize, const FRAMES: usize> {
    bytes: [u8; BYTES],
    entries: Deque<Entry, FRAMES>,
    /// The number of the entry at the front.
    first: FrameNumber,
    /// The entry that is sent next, and how much of it went out already. It is not retired unless
    /// it is half sent.
    cursor: usize,
    offset: usize,
    fd_sequence: u32,
}

impl<const BYTES: usize, const FRAMES: usize> Queue<BYTES, FRAMES> {
    /// Bytes of payload in the longest frame that the queue takes.
    pub const CAPACITY: usize = BYTES - Header::SIZE;

    /// An empty queue.
    pub const fn new() -> Self {
        const { assert!(BYTES >= Header::SIZE, "a queue holds at least a header") };
        const { assert!(BYTES <= 0x7fff_ffff, "lengths fit in 31 bits") };
        Self {
            bytes: [0; BYTES],
            entries: Deque::new(),
            first: FrameNumber(0),
            cursor: 0,
            offset: 0,
            fd_sequence: 0,
        }
    }

    /// Appends a frame whose payload is the pieces, one after the other. The header's `len` and
    /// `fd_sequence` are filled in here.
    ///
    /// # Errors
    /// Nothing is appended then: [`PushError::TooLong`] for a frame that will never fit,
    /// [`PushError::Full`] for one that will once others are retired.
    pub fn push(&mut self, header: Header, pieces: &[&[u8]]) -> Result<FrameNumber, PushError> {
        let len = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        let mut reservation = self.reserve(len)?;
        let mut rest = reservation.payload();
        for piece in pieces {
            let (place, after) = rest.split_at_mut_checked(piece.len()).unwrap_or_default();
            place.copy_from_slice(piece);
            rest = after;
        }
        Ok(reservation.commit(header, len))
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

    /// Offers the next bytes to `send`, which tells how many of them it took, `None` for none.
    /// Returns what `send` returned, `Ok(None)` also when there is nothing to send.
    ///
    /// A frame with descriptors begins its own batch and is stamped with their sequence; further
    /// frames without any follow in the same batch. Retired frames are passed over unless they
    /// are half sent.
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

    /// Returns the first frame that was not sent at all, where nothing is half sent.
    pub fn next_unsent(&mut self) -> Option<(FrameNumber, Frame<'_>)> {
        let entry = self.entries.get(self.cursor).filter(|_| self.offset == 0)?;
        let bytes = self.bytes.get(entry.start..entry.start + entry.len)?;
        let (header, payload) = bytes.split_first_chunk()?;
        let number = self.number_of(self.cursor);
        Some((number, Frame::new(Header::decode(header).ok()?, payload)))
    }

    /// Returns the ids of the frames that are not retired, in the order in which they were pushed.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        let kept = self.entries.iter().filter(|entry| !entry.retired);
        kept.filter_map(|entry| Header::id_of(self.bytes.get(entry.start..)?))
    }

    /// Counts the frame that [`next_unsent`](Self::next_unsent) gave as sent: it was handed over
    /// by another way than bytes.
    pub fn pass_unsent(&mut self) {
        if self.offset == 0 && self.cursor < self.entries.len() {
            self.cursor += 1;
            self.pass_over_retired();
        }
    }

    /// Counts everything as sent: nobody is there to receive it.
    pub fn discard_unsent(&mut self) {
        self.cursor = self.entries.len();
        self.offset = 0;
        self.reclaim();
    }

    /// Lets go of a frame: it has its outcome. Its room is free once those before it are retired
    /// too. A frame that is not in the queue any more is left alone.
    pub fn retire(&mut self, number: FrameNumber) {
        let entry = self.index_of(number).and_then(|index| self.entries.get_mut(index));
        if let Some(entry) = entry {
            entry.retired = true;
        }
        self.reclaim();
    }

    /// Lets go of every frame that is sent.
    pub fn retire_sent(&mut self) {
        if self.cursor == self.entries.len() {
            self.first = self.number_of(self.cursor);
            self.cursor = 0;
            self.entries.clear();
        }
        for _ in 0..self.cursor {
            self.drop_front();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.first = FrameNumber(0);
        self.cursor = 0;
        self.offset = 0;
        self.fd_sequence = 0;
    }

    /// Begins anew for another receiver: all frames that are not retired count as unsent, and the
    /// descriptors' sequence starts at zero. Requests of which any byte had gone out are marked
    /// [`Flags::RESENT`](crate::Flags::RESENT).
    pub fn rewind(&mut self) {
        let begun = self.cursor + usize::from(self.offset > 0);
        for entry in self.entries.iter().take(begun) {
            Header::stamp_resent(self.bytes.get_mut(entry.start..).unwrap_or_default());
        }
        self.cursor = 0;
        self.offset = 0;
        self.fd_sequence = 0;
        self.reclaim();
    }

    /// Returns whether any byte of the frame went out since the last [`rewind`](Self::rewind).
    pub fn is_begun(&self, number: FrameNumber) -> bool {
        self.index_of(number)
            .is_none_or(|index| index < self.cursor || (index == self.cursor && self.offset > 0))
    }

    /// Returns whether all of the frame went out since the last [`rewind`](Self::rewind), or it
    /// is not in the queue any more.
    pub fn is_sent(&self, number: FrameNumber) -> bool {
        self.index_of(number).is_none_or(|index| index < self.cursor)
    }

    /// Returns whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        // What the cursor points at is never a retired frame, unless it is half sent.
        self.cursor < self.entries.len()
    }

    /// Returns whether any byte of a frame that is still kept went out.
    pub fn has_sent(&self) -> bool {
        self.cursor > 0 || self.offset > 0
    }

    /// Returns whether no frame is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn number_of(&self, index: usize) -> FrameNumber {
        // An index is below FRAMES, and a queue of 2^32 frames does not fit in memory.
        FrameNumber(self.first.0.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    fn index_of(&self, number: FrameNumber) -> Option<usize> {
        let index = usize::try_from(number.0.wrapping_sub(self.first.0)).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    /// Where a frame with such a payload would start.
    fn room_for(&self, len: usize) -> Option<usize> {
        let len = Header::SIZE + len;
        if self.entries.is_full() {
            return None;
        }
        let (Some(front), Some(back)) = (self.entries.front(), self.entries.back()) else {
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
        let mut batch = Batch { pieces: Vec::new(), with_fds: None };
        let Some(first) = self.entries.get(self.cursor) else {
            return batch;
        };
        if first.fd_count > 0 && self.offset == 0 {
            batch.with_fds = Some(self.number_of(self.cursor));
        }
        let mut run = first.start + self.offset..first.start + first.len;
        for index in self.cursor + 1..self.entries.len() {
            let Some(entry) = self.entries.get(index).filter(|entry| entry.fd_count == 0) else {
                break;
            };
            if entry.retired {
                continue;
            }
            if run.end != entry.start {
                if !self.add_piece(&mut batch, run) {
                    return batch;
                }
                run = entry.start..entry.start;
            }
            run.end = entry.start + entry.len;
        }
        self.add_piece(&mut batch, run);
        batch
    }

    /// Answers false where the list is full: the piece goes with the next batch then.
    fn add_piece<'a>(&'a self, batch: &mut Batch<'a>, run: Range<usize>) -> bool {
        batch.pieces.push(self.bytes.get(run).unwrap_or_default()).is_ok()
    }

    /// Moves the cursors over `len` bytes that went out, and over what is retired after them.
    fn sent(&mut self, mut len: usize) {
        while let Some(entry) = self.entries.get(self.cursor) {
            if entry.retired && self.offset == 0 {
                self.cursor += 1;
                continue;
            } else if len == 0 {
                break;
            } else if self.offset == 0 {
                self.fd_sequence = self.fd_sequence.wrapping_add(u32::from(entry.fd_count));
            }
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

    fn pass_over_retired(&mut self) {
        while self.offset == 0 && self.entries.get(self.cursor).is_some_and(|entry| entry.retired) {
            self.cursor += 1;
        }
    }

    fn reclaim(&mut self) {
        self.pass_over_retired();
        while self.cursor > 0 && self.entries.front().is_some_and(|entry| entry.retired) {
            self.drop_front();
        }
    }

    /// Takes away the frame at the front, which was sent.
    fn drop_front(&mut self) {
        self.entries.pop_front();
        self.first = FrameNumber(self.first.0.wrapping_add(1));
        self.cursor = self.cursor.saturating_sub(1);
    }
}

impl<const BYTES: usize, const FRAMES: usize> Default for Queue<BYTES, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
