//! Messages that wait in main: a FIFO with a fixed number of bytes.

use super::line::Datagram;
use super::packed::{HEAD, pack, unpack};

/// A queue of messages, each contiguous. A message that does not fit before the end of the memory
/// is put at its beginning.
#[derive(Debug)]
pub(crate) struct Intake<B> {
    memory: B,
    /// Where the first message begins, and where the next one will.
    first: usize,
    next: usize,
    /// Where the messages behind the first one end, if later ones are at the beginning.
    end: Option<usize>,
    count: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Intake<B> {
    pub(crate) const fn new(memory: B) -> Self {
        Self { memory, first: 0, next: 0, end: None, count: 0 }
    }

    /// Returns how many messages are waiting.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Returns whether a message of `len` bytes would fit.
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        self.place_for(HEAD + len).is_some()
    }

    /// Adds a message, if there is room. Returns whether there was.
    pub(crate) fn push(&mut self, datagram: &Datagram<'_>) -> bool {
        let Some(place) = self.place_for(HEAD + datagram.bytes.len()) else { return false };
        let head = pack(datagram);
        let mut at = place;
        for piece in [&head[..], datagram.bytes] {
            if let Some(room) = self.memory.as_mut().get_mut(at..at + piece.len()) {
                room.copy_from_slice(piece);
            }
            at += piece.len();
        }
        if place < self.next {
            self.end = Some(self.next);
        }
        self.next = at;
        self.count += 1;
        true
    }

    /// Returns the oldest message.
    pub(crate) fn front(&self) -> Option<Datagram<'_>> {
        unpack(self.memory.as_ref().get(self.first..).filter(|_| self.count > 0)?)
    }

    /// Removes the oldest message.
    pub(crate) fn pop(&mut self) {
        let Some(len) = self.front().map(|datagram| datagram.bytes.len()) else { return };
        self.first += HEAD + len;
        self.count -= 1;
        if self.end == Some(self.first) {
            (self.first, self.end) = (0, None);
        }
        if self.count == 0 {
            (self.first, self.next) = (0, 0);
        }
    }

    /// Returns where `len` bytes fit.
    fn place_for(&self, len: usize) -> Option<usize> {
        let limit = if self.end.is_some() { self.first } else { self.memory.as_ref().len() };
        if len <= limit - self.next {
            return Some(self.next);
        }
        (self.end.is_none() && len <= self.first).then_some(0)
    }
}
