//! Messages that wait in main, first in first out, in a fixed number of bytes.

use core::time::Duration;

use super::line::Datagram;

/// Bytes in front of each message: its time of receipt, its sender, its length and what it lacks.
const HEAD: usize = 8 + 4 + 13 + 4 + 8;

/// A queue of messages. Each lies in one piece: one that does not fit before the end of the memory
/// lies at its beginning.
#[derive(Debug)]
pub(crate) struct Intake<B> {
    memory: B,
    /// Where the first message begins, and where the next one will.
    first: usize,
    next: usize,
    /// Where the messages end that lie behind the first, if others lie at the beginning.
    end: Option<usize>,
    count: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Intake<B> {
    pub(crate) const fn new(memory: B) -> Self {
        Self { memory, first: 0, next: 0, end: None, count: 0 }
    }

    /// Returns how many messages wait.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// Returns whether a message of so many bytes would be taken.
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        self.place_for(HEAD + len).is_some()
    }

    /// Takes a message in, if there is room for it. Returns whether there was.
    pub(crate) fn push(&mut self, datagram: &Datagram<'_>) -> bool {
        let Datagram { received, sender, bytes, missing } = datagram;
        let Some(place) = self.place_for(HEAD + bytes.len()) else { return false };
        let Ok(len) = u32::try_from(bytes.len()) else { return false };
        let [pid, uid, gid] = sender.unwrap_or_default().map(u32::to_le_bytes);
        let pieces: [&[u8]; 9] = [
            &received.as_secs().to_le_bytes(),
            &received.subsec_nanos().to_le_bytes(),
            &[u8::from(sender.is_some())],
            &pid,
            &uid,
            &gid,
            &len.to_le_bytes(),
            &missing.to_le_bytes(),
            bytes,
        ];
        let mut at = place;
        for piece in pieces {
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

    /// Returns the message that waits longest.
    pub(crate) fn front(&self) -> Option<Datagram<'_>> {
        let mut rest = self.memory.as_ref().get(self.first..).filter(|_| self.count > 0)?;
        let seconds = u64::from_le_bytes(take(&mut rest)?);
        let nanoseconds = u32::from_le_bytes(take(&mut rest)?);
        let [is_known] = take(&mut rest)?;
        let sender = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u32::from_le_bytes);
        let len = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        let missing = u64::from_le_bytes(take(&mut rest)?);
        Some(Datagram {
            received: Duration::new(seconds, nanoseconds),
            sender: (is_known == 1).then_some(sender),
            bytes: rest.get(..len)?,
            missing,
        })
    }

    /// Removes the message that waits longest.
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

    /// Returns where so many bytes have room.
    fn place_for(&self, len: usize) -> Option<usize> {
        let limit = if self.end.is_some() { self.first } else { self.memory.as_ref().len() };
        if len <= limit - self.next {
            return Some(self.next);
        }
        (self.end.is_none() && len <= self.first).then_some(0)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}
