//! The side that reads.

use super::cursor::Asleep;
use super::track::{BrokenRing, Track, UNIT, WITH_FDS, aligned};

/// What the reading side keeps for itself.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    /// How far it has come, in bytes.
    position: u32,
    /// How far it knows the other side to have come.
    head: u32,
    /// Bytes of the present chunk that are still to be read.
    left: u32,
    /// The descriptors of the present chunk are still to be fetched.
    with_fds: bool,
}

/// What is to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Bytes,
    /// Bytes with descriptors, which are fetched first: see [`Consumer::fetched`].
    WithFds,
}

impl Consumer {
    pub(crate) const fn new() -> Self {
        Self { position: 0, head: 0, left: 0, with_fds: false }
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn starting_at(position: u32) -> Self {
        Self { position, head: position, ..Self::new() }
    }

    /// Returns from where the other side has not gone on, as far as this side knows; `None` where
    /// there is something to read.
    #[inline]
    pub(crate) const fn end(&self) -> Option<u32> {
        let is_empty = self.left == 0 && self.head == aligned(self.position);
        if is_empty { Some(self.head) } else { None }
    }

    /// Looks for something to read.
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

    /// The descriptors of the next bytes were fetched. Returns how many bytes these are.
    pub(crate) fn fetched(&mut self) -> usize {
        self.with_fds = false;
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// Copies out what there is to read, up to the next descriptors and to what is broken. Returns how
    /// many bytes, and how the other side has slept for want of room.
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
        let end = if self.left == 0 { aligned(self.position) } else { self.position & !(UNIT - 1) };
        (taken, track.tail.publish(end))
    }

    /// Returns whether there is nothing to read.
    pub(crate) fn is_empty(&self, track: Track<'_>) -> bool {
        self.end() == Some(track.head.position())
    }

    /// Returns about how many bytes there are to read, and not fewer.
    pub(crate) fn waiting(&self, track: Track<'_>) -> usize {
        let waiting = track.head.position().wrapping_sub(self.position);
        usize::try_from(waiting.min(track.data.capacity())).unwrap_or(usize::MAX)
    }
}
