//! The reading side.

use super::cursor::Asleep;
use super::track::{BrokenRing, Track, UNIT, WITH_FDS, aligned};

/// The private state of the reading side.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    /// Its position, in bytes.
    position: u32,
    /// The last known position of the other side.
    head: u32,
    /// Unread bytes of the current chunk.
    left: u32,
    /// The descriptors of the current chunk have not been fetched.
    with_fds: bool,
    /// How many chunks had descriptors that were fetched, wrapping.
    number: u8,
}

/// What to read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Bytes,
    /// Bytes with descriptors. Fetch the descriptors first: see [`Consumer::fetched`].
    WithFds,
}

impl Consumer {
    pub(crate) const fn new() -> Self {
        Self { position: 0, head: 0, left: 0, with_fds: false, number: 0 }
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn starting_at(position: u32) -> Self {
        Self { position, head: position, ..Self::new() }
    }

    /// Returns the last known position of the other side if everything before it was read; `None`
    /// if there is input.
    #[inline]
    pub(crate) const fn end(&self) -> Option<u32> {
        let is_empty = self.left == 0 && self.head == aligned(self.position);
        if is_empty { Some(self.head) } else { None }
    }

    /// Looks for input.
    #[inline]
    pub(crate) fn next(&mut self, track: Track<'_>) -> Result<Option<Next>, BrokenRing> {
        if self.left == 0 {
            let start = aligned(self.position);
            if self.head == start {
                let head = track.head.position();
                let is_whole =
                    head.is_multiple_of(UNIT) && head.wrapping_sub(start) <= track.data.capacity();
                self.head = Some(head).filter(|_| is_whole).ok_or(BrokenRing)?;
                if head == start {
                    return Ok(None);
                }
            }
            let word = track.data.word(start);
            let (len, most) = (word & !WITH_FDS, self.head.wrapping_sub(start) - UNIT);
            if len == 0 || len > most {
                return Err(BrokenRing);
            }
            self.position = start.wrapping_add(UNIT);
            (self.left, self.with_fds) = (len, word & WITH_FDS != 0);
        }
        Ok(Some(if self.with_fds { Next::WithFds } else { Next::Bytes }))
    }

    /// Returns the number of the next chunk whose descriptors are to be fetched.
    pub(crate) const fn number(&self) -> u8 {
        self.number
    }

    /// Notes that the descriptors of the next bytes were fetched. Returns how many bytes these are.
    pub(crate) fn fetched(&mut self) -> usize {
        self.with_fds = false;
        self.number = self.number.wrapping_add(1);
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Copies out bytes, up to the next chunk that has descriptors or is broken. Returns how many,
    /// and how the other side sleeps while it waits for room.
    pub(crate) fn take(&mut self, track: Track<'_>, space: &mut [u8]) -> (usize, Asleep) {
        let mut taken = 0;
        while taken < space.len() && self.next(track) == Ok(Some(Next::Bytes)) {
            let rest = space.get_mut(taken..).unwrap_or_default();
            let left = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
            let rest = rest.get_mut(..left).unwrap_or_default();
            track.data.read(self.position, rest);
            taken += rest.len();
            // It is at most what is left.
            let len = u32::try_from(rest.len()).unwrap_or(self.left);
            self.position = self.position.wrapping_add(len);
            self.left -= len;
        }
        (taken, self.publish(track))
    }

    /// Publishes how far this side has read. Returns how the other side sleeps while it waits for
    /// room.
    pub(crate) fn publish(&self, track: Track<'_>) -> Asleep {
        let end = if self.left == 0 { aligned(self.position) } else { self.position & !(UNIT - 1) };
        track.tail.publish(end)
    }

    /// Returns whether there is nothing to read.
    pub(crate) fn is_empty(&self, track: Track<'_>) -> bool {
        self.end() == Some(track.head.position())
    }

    /// Returns an upper estimate of how many bytes there are to read.
    pub(crate) fn waiting(&self, track: Track<'_>) -> usize {
        let waiting = track.head.position().wrapping_sub(self.position);
        usize::try_from(waiting.min(track.data.capacity())).unwrap_or(usize::MAX)
    }
}
