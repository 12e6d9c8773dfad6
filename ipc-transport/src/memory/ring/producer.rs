//! The writing side.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use super::cursor::Asleep;
use super::track::{BrokenRing, Track, UNIT, WITH_FDS, aligned};

/// The private state of the writing side: its position, and the last known position of the other
/// side. Only one thread at a time may write, but it need not be the same thread each time.
#[derive(Debug, Default)]
pub(crate) struct Producer {
    head: AtomicU32,
    tail: AtomicU32,
    /// How many chunks had descriptors, wrapping.
    number: AtomicU8,
}

/// A chunk that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) len: usize,
    /// How the other side sleeps: wake it.
    pub(crate) asleep: Asleep,
}

impl Producer {
    pub(crate) const fn new() -> Self {
        Self { head: AtomicU32::new(0), tail: AtomicU32::new(0), number: AtomicU8::new(0) }
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn starting_at(position: u32) -> Self {
        Self { head: position.into(), tail: position.into(), ..Self::new() }
    }

    /// Returns the last known position of the other side.
    pub(crate) fn tail(&self) -> u32 {
        self.tail.load(Relaxed)
    }

    /// Returns the number of the next chunk that has descriptors.
    pub(crate) fn number(&self) -> u8 {
        self.number.load(Relaxed)
    }

    /// Returns how many bytes the next chunk can have. It reads the other side's position only if
    /// the last known one leaves less than `wanted`.
    #[inline]
    pub(crate) fn room(&self, track: Track<'_>, wanted: usize) -> Result<usize, BrokenRing> {
        let free = |tail: u32| {
            let used = self.head.load(Relaxed).wrapping_sub(tail);
            track.data.capacity().checked_sub(used).ok_or(BrokenRing)
        };
        // It is at most the capacity.
        let of_chunk = |free: u32| usize::try_from(free.saturating_sub(UNIT)).unwrap_or(0);
        let room = of_chunk(free(self.tail())?);
        if room >= wanted {
            return Ok(room);
        }
        let tail = track.tail.position();
        let room = of_chunk(free(tail)?);
        self.tail.store(tail, Relaxed);
        Ok(room)
    }

    /// Writes bytes from the start of the pieces as one chunk; `None` if there is no room.
    #[inline]
    pub(crate) fn put(
        &self,
        track: Track<'_>,
        pieces: &[&[u8]],
        with_fds: bool,
    ) -> Result<Option<Put>, BrokenRing> {
        let wanted = pieces.iter().map(|piece| piece.len()).fold(0, usize::saturating_add);
        let len = self.room(track, wanted)?.min(wanted);
        let Some(chunk) = u32::try_from(len).ok().filter(|&len| len > 0) else {
            return Ok(None);
        };
        let head = self.head.load(Relaxed);
        track.data.set_word(head, if with_fds { chunk | WITH_FDS } else { chunk });
        let mut at = head.wrapping_add(UNIT);
        let end = at.wrapping_add(chunk);
        for piece in pieces {
            let left = usize::try_from(end.wrapping_sub(at)).unwrap_or(0);
            let piece = piece.get(..left).unwrap_or(piece);
            track.data.write(at, piece);
            // It is at most what is left.
            at = at.wrapping_add(u32::try_from(piece.len()).unwrap_or(0));
        }
        self.head.store(aligned(end), Relaxed);
        self.number.store(self.number().wrapping_add(with_fds.into()), Relaxed);
        Ok(Some(Put { len, asleep: track.head.publish(aligned(end)) }))
    }
}
