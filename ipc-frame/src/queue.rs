//! The outgoing queue. It keeps frames until they are retired, so that they can be sent again.

use core::fmt;
use core::ops::Range;

use crate::decode::Frame;
use crate::header::{Header, MAX_FDS};

mod frames;
mod reservation;

pub use frames::FrameNumber;
use frames::{Entry, Frames};
pub use reservation::{PushError, Reservation};

/// Most pieces that one send is offered.
const PIECES: usize = 8;

/// A queue of at most `FRAMES` frames in a ring of `BYTES` bytes.
///
/// [`push`](Self::push) adds a frame, [`send_with`](Self::send_with) sends it, and
/// [`retire`](Self::retire) removes it. Until it is retired, it can be sent again after a
/// [`rewind`](Self::rewind). Each frame is contiguous, so one that does not fit before the end of
/// the ring leaves those bytes unused. An empty queue always takes a frame of `BYTES` bytes.
///
/// All-zero bytes are a valid empty queue, the same as [`new`](Self::new) returns.
pub struct Queue<const BYTES: usize, const FRAMES: usize> {
    bytes: [u8; BYTES],
    frames: Frames<FRAMES>,
    /// The frame to send next, and how many of its bytes are sent. The cursor never rests on a
    /// frame that is to be skipped, unless that frame is half sent.
    cursor: u64,
    offset: usize,
    /// Frames to send before all others, and where sending continues after them.
    urgent: Range<u64>,
    after_urgent: u64,
    fd_sequence: u32,
}

impl<const BYTES: usize, const FRAMES: usize> Queue<BYTES, FRAMES> {
    /// Longest payload in bytes that the queue takes.
    pub const CAPACITY: usize = BYTES - Header::SIZE;

    /// An empty queue.
    pub const fn new() -> Self {
        const { assert!(BYTES >= Header::SIZE, "a queue holds at least a header") };
        const { assert!(BYTES <= 0x7fff_ffff, "lengths fit in 31 bits") };
        let (cursor, urgent, after_urgent) = (0, 0..0, 0);
        let (bytes, frames) = ([0; BYTES], Frames::new());
        Self { bytes, frames, cursor, offset: 0, urgent, after_urgent, fd_sequence: 0 }
    }

    /// Appends a frame without descriptors. Its payload is the pieces, one after the other.
    ///
    /// # Errors
    /// [`PushError::TooLong`] if the frame can never fit, [`PushError::Full`] if it fits once other
    /// frames are retired. The queue is unchanged.
    pub fn push(&mut self, header: Header, pieces: &[&[u8]]) -> Result<FrameNumber, PushError> {
        self.push_with_fds(header, 0, pieces)
    }

    /// Appends a frame as [`push`](Self::push) does, with `fd_count` descriptors. The caller keeps
    /// the descriptors and sends them with the frame; see [`send_with`](Self::send_with).
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::TooManyFds`].
    pub fn push_with_fds(
        &mut self,
        header: Header,
        fd_count: usize,
        pieces: &[&[u8]],
    ) -> Result<FrameNumber, PushError> {
        let len = pieces.iter().fold(0_usize, |sum, piece| sum.saturating_add(piece.len()));
        let reservation = self.reserve(len)?;
        let mut rest = self.payload_mut(&reservation);
        for piece in pieces {
            let (place, after) = rest.split_at_mut_checked(piece.len()).unwrap_or_default();
            place.copy_from_slice(piece);
            rest = after;
        }
        self.commit(reservation, header, fd_count, len)
    }

    /// Reserves room for a payload of up to `len` bytes. Write the payload in place with
    /// [`payload_mut`](Self::payload_mut), then append the frame with [`commit`](Self::commit).
    ///
    /// Frames may be sent and retired in between. Appending another frame ends the reservation.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn reserve(&self, len: usize) -> Result<Reservation, PushError> {
        Ok(Reservation { number: self.frames.next, start: self.room_for(len)?, len })
    }

    /// Returns the room for the payload. It is empty if the reservation has ended.
    pub fn payload_mut(&mut self, reservation: &Reservation) -> &mut [u8] {
        let place = self.place_of(*reservation).and_then(|place| self.bytes.get_mut(place));
        place.and_then(|place| place.get_mut(Header::SIZE..)).unwrap_or_default()
    }

    /// Appends the reserved frame with `fd_count` descriptors. Its payload is the first `len` bytes
    /// of the room. A `len` over the room is capped at the room.
    ///
    /// # Errors
    /// [`PushError::TooManyFds`], or [`PushError::Full`] if the reservation has ended. The queue is
    /// unchanged.
    pub fn commit(
        &mut self,
        reservation: Reservation,
        header: Header,
        fd_count: usize,
        len: usize,
    ) -> Result<FrameNumber, PushError> {
        let limit = if header.kind().may_have_fds() { MAX_FDS } else { 0 };
        let accepted = u16::try_from(fd_count).ok().filter(|&count| count <= limit);
        let fd_count = accepted.ok_or(PushError::TooManyFds { count: fd_count, limit })?;
        let Range { start, end: limit } = self.place_of(reservation).ok_or(PushError::Full)?;
        let end = start.saturating_add(Header::SIZE).saturating_add(len).min(limit);
        let place = self.bytes.get_mut(start..end).unwrap_or_default();
        if let Some((place, payload)) = place.split_first_chunk_mut() {
            // The constructor checks that the capacity fits in 31 bits.
            let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            header.of_new_frame(len, fd_count).encode_into(place);
        }
        Ok(self.frames.push(Entry { start, end, fd_count, ..Entry::NONE }))
    }

    /// Returns whether a frame with a payload of `len` bytes fits now.
    pub fn has_room_for(&self, len: usize) -> bool {
        self.room_for(len).is_ok()
    }

    /// Offers the next bytes to `send`, in at most 8 pieces. `send` returns how many bytes it took,
    /// or `None` if it would block. This call returns the same, or `Ok(None)` if there is nothing
    /// to send.
    ///
    /// If descriptors must go with the first byte, `send` also gets the number of their frame, and
    /// the frame's header gets their sequence. Frames without descriptors may follow in the same
    /// call. The next frame with descriptors waits for the next call. Adjacent frames form one
    /// piece. Retired and withdrawn frames are skipped, unless they are half sent.
    ///
    /// # Errors
    /// The error of `send`. Nothing counts as sent.
    pub fn send_with<E>(
        &mut self,
        send: impl FnOnce(&[&[u8]], Option<FrameNumber>) -> Result<Option<usize>, E>,
    ) -> Result<Option<usize>, E> {
        let Some(&next) = self.frames.get(self.cursor) else { return Ok(None) };
        let with_fds = (next.fd_count > 0 && self.offset == 0).then_some(FrameNumber(self.cursor));
        if with_fds.is_some() {
            let header = self.bytes.get_mut(next.start..).unwrap_or_default();
            Header::stamp_fd_sequence(header, self.fd_sequence);
        }
        let (pieces, count) = self.pieces(next);
        let sent = send(pieces.get(..count).unwrap_or_default(), with_fds);
        self.sent(sent.as_ref().map_or(0, |len| len.unwrap_or(0)));
        sent
    }

    /// Moves the frame that was pushed last ahead of all others. Returns whether it did. To move
    /// several, call it after each push; they keep their order.
    ///
    /// The frame keeps its place if any byte of a kept frame was sent since the last
    /// [`rewind`](Self::rewind), or if other frames were pushed in between.
    pub fn send_first(&mut self, number: FrameNumber) -> bool {
        let FrameNumber(number) = number;
        let is_next = self.urgent.is_empty() || self.urgent.end == number;
        let is_sending = self.offset > 0 || self.has_sent();
        if is_sending || self.frames.next != number + 1 || !is_next {
            return false;
        }
        if self.urgent.is_empty() {
            (self.after_urgent, self.cursor, self.urgent.start) = (self.cursor, number, number);
        }
        self.urgent.end = number + 1;
        self.settle();
        true
    }

    /// Returns the next frame to send. `None` if all are sent, or if a frame is half sent.
    pub fn next_unsent(&self) -> Option<(FrameNumber, Frame<'_>)> {
        let number = Some(FrameNumber(self.cursor)).filter(|_| self.offset == 0)?;
        Some((number, self.frame(number)?))
    }

    /// Marks the frame that [`next_unsent`](Self::next_unsent) returned as sent. Use it for a frame
    /// that was delivered by other means than bytes.
    pub fn pass_unsent(&mut self) {
        if self.offset == 0 {
            self.pass();
        }
    }

    /// Marks all frames as sent. Use it when the receiver is gone.
    pub fn discard_unsent(&mut self) {
        while self.has_unsent() {
            self.pass();
        }
    }

    /// Retires a frame whose outcome is known. Its room becomes free once all earlier frames are
    /// retired too. A number that is not in the queue is ignored.
    pub fn retire(&mut self, number: FrameNumber) {
        if let Some(entry) = self.frames.get_mut(number.0) {
            entry.retired = true;
        }
        self.settle();
    }

    /// Retires every frame that was sent.
    pub fn retire_sent(&mut self) {
        for number in (self.frames.first..self.frames.next).map(FrameNumber) {
            if self.is_sent(number) {
                self.retire(number);
            }
        }
    }

    /// Stops a frame from being sent, now and after a [`rewind`](Self::rewind). A half-sent frame
    /// is finished first. The frame keeps its bytes, room and place until it is retired.
    pub fn withdraw(&mut self, number: FrameNumber) {
        if let Some(entry) = self.frames.get_mut(number.0) {
            entry.withdrawn = true;
        }
        self.settle();
    }

    /// Drops all frames. Their numbers become invalid and are not used again.
    pub fn clear(&mut self) {
        self.frames.first = self.frames.next;
        self.rewind();
    }

    /// Starts over for another receiver. All kept frames that are not withdrawn become unsent, and
    /// the descriptors' sequence restarts at zero. Requests and one-ways of which any byte was sent
    /// are marked as sent before; see [`Header::is_resent`].
    pub fn rewind(&mut self) {
        for number in self.frames.first..self.frames.next {
            let Some(entry) = self.frames.get_mut(number) else { break };
            if entry.begun && !entry.withdrawn {
                Header::stamp_resent(self.bytes.get_mut(entry.start..).unwrap_or_default());
            }
            entry.begun = false;
        }
        self.cursor = self.frames.first;
        self.offset = 0;
        self.urgent = 0..0;
        self.fd_sequence = 0;
        self.settle();
    }

    /// Returns whether any byte of the frame was sent since the last [`rewind`](Self::rewind). Also
    /// true for a frame that is no longer kept.
    pub fn is_begun(&self, number: FrameNumber) -> bool {
        self.kept(number.0).is_none_or(|entry| entry.begun)
    }

    /// Returns whether the whole frame was sent since the last [`rewind`](Self::rewind). Also true
    /// for a frame that is no longer kept.
    pub fn is_sent(&self, number: FrameNumber) -> bool {
        // A frame at the cursor that has begun is half sent.
        self.kept(number.0).is_none_or(|entry| entry.begun && number.0 != self.cursor)
    }

    /// Returns whether there is something to send.
    pub const fn has_unsent(&self) -> bool {
        // The cursor only rests on a frame that is to be sent.
        self.cursor < self.frames.next
    }

    /// Returns whether any byte of a kept frame was sent since the last [`rewind`](Self::rewind).
    pub fn has_sent(&self) -> bool {
        // No frame beyond these was sent.
        let mut reached = self.frames.first..=self.cursor.max(self.urgent.end);
        reached.any(|number| self.kept(number).is_some_and(|entry| entry.begun))
    }

    /// Returns the first kept frame: one that was pushed and not retired. To visit all of them:
    ///
    /// ```
    /// # let mut queue = ipc_frame::Queue::<256, 4>::new();
    /// # queue.push(ipc_frame::Header::request(1, 1), &[])?;
    /// let mut next = queue.first();
    /// while let Some(number) = next {
    ///     queue.retire(number);
    ///     next = queue.next_after(number);
    /// }
    /// # Ok::<(), ipc_frame::PushError>(())
    /// ```
    pub fn first(&self) -> Option<FrameNumber> {
        self.kept_from(0)
    }

    /// Returns the first kept frame that was pushed after `number`. `number` itself may be retired.
    pub fn next_after(&self, number: FrameNumber) -> Option<FrameNumber> {
        self.kept_from(number.0 + 1)
    }

    /// Returns the id of a kept frame.
    pub fn id(&self, number: FrameNumber) -> Option<u64> {
        Some(self.frame(number)?.header().id())
    }

    /// Returns a kept frame.
    pub fn frame(&self, number: FrameNumber) -> Option<Frame<'_>> {
        let entry = self.kept(number.0)?;
        let (header, payload) = self.bytes.get(entry.start..entry.end)?.split_first_chunk()?;
        // Headers in the queue always decode.
        Some(Frame { header: Header::decode(header).ok()?, payload })
    }

    fn kept(&self, number: u64) -> Option<&Entry> {
        self.frames.get(number).filter(|entry| !entry.retired)
    }

    fn kept_from(&self, number: u64) -> Option<FrameNumber> {
        let mut numbers = number.max(self.frames.first)..self.frames.next;
        numbers.find(|&number| self.kept(number).is_some()).map(FrameNumber)
    }

    /// Where a frame with a payload of `len` bytes would start.
    fn room_for(&self, len: usize) -> Result<usize, PushError> {
        if len > Self::CAPACITY {
            return Err(PushError::TooLong { len, capacity: Self::CAPACITY });
        }
        let Frames { first, next, .. } = self.frames;
        // An empty queue has neither a front nor a back.
        let front = self.frames.get(first).map_or(0, |entry| entry.start);
        let back = self.frames.get(next.wrapping_sub(1)).unwrap_or(&Entry::NONE);
        let free =
            if back.start < front { [back.end..front, 0..0] } else { [back.end..BYTES, 0..front] };
        let is_full = next - first >= FRAMES as u64;
        let room = free.into_iter().find(|room| !is_full && room.len() >= Header::SIZE + len);
        Ok(room.ok_or(PushError::Full)?.start)
    }

    /// The place of a reserved frame; `None` if the reservation has ended. Until a frame is
    /// appended, room only grows.
    fn place_of(&self, Reservation { number, start, len }: Reservation) -> Option<Range<usize>> {
        let end = start + Header::SIZE + len;
        (number == self.frames.next && end <= BYTES).then_some(start..end)
    }

    /// The bytes from the cursor to the next frame with descriptors, and the number of pieces.
    fn pieces(&self, next: Entry) -> ([&[u8]; PIECES], usize) {
        let is_urgent = self.urgent.contains(&self.cursor);
        let end = if is_urgent { self.urgent.end } else { self.frames.next };
        let behind = (self.cursor + 1..end).filter_map(|index| self.frames.get(index));
        let without_fds = behind.take_while(|entry| entry.fd_count == 0);
        let mut to_send = without_fds.filter(|entry| !entry.is_passed_over());
        let (mut pieces, mut count): ([&[u8]; PIECES], _) = ([&[]; PIECES], 0);
        let mut next = Some((next.start + self.offset, next.end));
        for piece in &mut pieces {
            let Some((start, mut end)) = next.take() else { break };
            for entry in &mut to_send {
                if entry.start != end {
                    next = Some((entry.start, entry.end));
                    break;
                }
                end = entry.end;
            }
            *piece = self.bytes.get(start..end).unwrap_or_default();
            count += 1;
        }
        (pieces, count)
    }

    /// Moves the cursor past `len` bytes that were sent.
    fn sent(&mut self, mut len: usize) {
        while len > 0 {
            let Some(entry) = self.frames.get_mut(self.cursor) else { break };
            if self.offset == 0 {
                self.fd_sequence = self.fd_sequence.wrapping_add(entry.fd_count.into());
            }
            let rest = entry.end - entry.start - self.offset;
            if len < rest {
                entry.begun = true;
                self.offset += len;
                break;
            }
            len -= rest;
            self.pass();
        }
    }

    /// Marks the frame at the cursor as sent.
    fn pass(&mut self) {
        if let Some(entry) = self.frames.get_mut(self.cursor) {
            entry.begun = true;
            self.offset = 0;
        }
        self.settle();
    }

    /// Moves the cursor past frames that are not to be sent, and frees the retired frames at the
    /// front.
    fn settle(&mut self) {
        while self.offset == 0 && self.frames.get(self.cursor).is_some_and(Entry::is_passed_over) {
            self.cursor += 1;
            if self.cursor == self.urgent.end && !self.urgent.is_empty() {
                self.cursor = self.after_urgent.max(self.frames.first);
                self.urgent.start = self.urgent.end;
            }
        }
        while self.frames.first < self.cursor && self.kept(self.frames.first).is_none() {
            self.frames.first += 1;
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
        let Self { frames: Frames { first, next, .. }, cursor, offset, .. } = self;
        write!(f, "Queue {{ frames: {first}..{next}, next: frame {cursor}, byte {offset} }}")
    }
}

#[cfg(test)]
mod tests;
