//! Which frame an arriving descriptor belongs to: ranges, counts and numbers, nothing else.

use core::fmt;
use core::ops::Range;

use ipc_frame::{DecodeError, Header};

/// Decides which frame the descriptors of a stream belong to. It holds none of them and makes no
/// call: its owner keeps the descriptors that wait and does as it is told.
///
/// One receiving call takes the descriptors of at most one sending call, and ends with the bytes
/// of that sending call. Descriptors that came with a range of bytes therefore belong to the last
/// frame that begins in the range and announces some. Frames before it in the same range have
/// lost theirs.
///
/// At most one batch of descriptors waits for its frame. [`limit`](Self::limit) tells what may be
/// received meanwhile.
#[derive(Debug, Default)]
pub struct Joiner {
    /// How many descriptors the frames so far have announced, wrapping.
    sequence: u32,
    waiting: Option<Batch>,
    /// A frame that may announce none: its header begins at the end of a range whose descriptors
    /// went to a frame before it.
    barred: Option<u64>,
    /// The stream cannot be read any further.
    pub(super) failed: Option<InboxError>,
}

/// Descriptors that wait for the frame that begins at `owner`.
#[derive(Clone, Copy, Debug)]
struct Batch {
    owner: u64,
    count: usize,
}

impl Joiner {
    /// A joiner at the start of a stream.
    pub const fn new() -> Self {
        Self { sequence: 0, waiting: None, barred: None, failed: None }
    }

    /// Tells that `count` descriptors, at least one, came with the bytes `range` of the stream, and
    /// returns whether they wait for their frame. Otherwise they are to be closed at once.
    ///
    /// `headers` are the whole headers that have arrived and were not passed to
    /// [`frame`](Self::frame), each with the place in the stream where it begins; the first of
    /// them begins, or is to begin, at `position`.
    pub fn arrived(
        &mut self,
        range: Range<u64>,
        count: usize,
        position: u64,
        headers: impl Iterator<Item = (u64, Header)>,
    ) -> bool {
        if self.waiting.is_some() || self.failed.is_some() {
            return false;
        }
        let (mut owner, mut next) = (None, position);
        for (start, header) in headers {
            next = end_of(start, &header);
            if header.fd_count() > 0 && self.barred == Some(start) {
                // The stream ends at this frame.
                return false;
            }
            if header.fd_count() > 0 && range.contains(&start) {
                owner = Some(start);
            }
        }
        let half = range.contains(&next).then_some(next);
        self.barred = owner.and(half).or(self.barred);
        self.waiting = owner.or(half).map(|owner| Batch { owner, count });
        self.waiting.is_some()
    }

    /// Decides for the next frame, which begins at `start`, and returns what it has lost. If
    /// descriptors waited and do not [any longer](Self::is_waiting), they are the frame's where it
    /// announces some and has lost none; otherwise they are to be closed.
    ///
    /// # Errors
    /// The sender's fault, and final: every later call fails alike, and whatever waits is to be
    /// closed.
    #[inline]
    pub fn frame(&mut self, start: u64, header: &Header) -> Result<Option<FdsLost>, InboxError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let expected = header.fd_count();
        if expected > 0 {
            self.check(start, header).inspect_err(|error| self.failed = Some(*error))?;
        }
        let batch = self.waiting.take_if(|batch| batch.owner <= start);
        let got = batch.filter(|batch| batch.owner == start).map_or(0, |batch| batch.count);
        let is_whole = expected == 0 || got == usize::from(expected);
        Ok((!is_whole).then_some(FdsLost { expected, got }))
    }

    /// Returns how many bytes at most may be received now, where `received` of the stream have
    /// arrived, and no descriptors with them. Zero: take frames first. `None` for any bytes, and
    /// one call's descriptors. `headers` are as for [`arrived`](Self::arrived).
    pub fn limit(
        &self,
        received: u64,
        mut headers: impl Iterator<Item = (u64, Header)>,
    ) -> Option<u64> {
        if self.failed.is_some() {
            return Some(0);
        }
        let owner = self.waiting?.owner;
        let header = headers.find(|(start, _)| *start == owner);
        let end = match header {
            Some((start, header)) => end_of(start, &header),
            None => owner.saturating_add(HEADER),
        };
        Some(end.saturating_sub(received))
    }

    /// Returns whether descriptors wait for their frame.
    pub const fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    fn check(&mut self, start: u64, header: &Header) -> Result<(), InboxError> {
        let (expected, got) = (self.sequence, header.fd_sequence());
        if expected != got {
            return Err(InboxError::FdSequence { expected, got });
        }
        if self.barred == Some(start) {
            return Err(InboxError::FdsClaimedTwice { fd_count: header.fd_count() });
        }
        self.sequence = self.sequence.wrapping_add(header.fd_count().into());
        Ok(())
    }
}

const HEADER: u64 = Header::SIZE as u64;

fn end_of(start: u64, header: &Header) -> u64 {
    start.saturating_add(HEADER).saturating_add(header.len().into())
}

/// Descriptors of one frame that did not all arrive, mostly because the receiver had no room for
/// them or may open no more (`EMFILE`). The frame's bytes and all other frames are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdsLost {
    /// How many the frame announced.
    pub expected: u16,
    /// How many came.
    pub got: usize,
}

impl fmt::Display for FdsLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} descriptors arrived", self.got, self.expected)
    }
}

impl core::error::Error for FdsLost {}

/// A stream that cannot be read any further, by the sender's fault. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboxError {
    /// The bytes are not frames.
    Decode(DecodeError),
    /// A frame's descriptors are not numbered after those before.
    FdSequence {
        /// How many descriptors were announced before.
        expected: u32,
        /// The number in the frame.
        got: u32,
    },
    /// Two frames announce the descriptors of one sending call: the second one was sent with the
    /// first, or its descriptors were sent apart from it.
    FdsClaimedTwice {
        /// How many the second one announces.
        fd_count: u16,
    },
}

impl fmt::Display for InboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::FdSequence { expected, got } => {
                write!(f, "descriptor sequence {got} instead of {expected}")
            }
            Self::FdsClaimedTwice { fd_count } => {
                write!(f, "a frame with {fd_count} descriptors was sent together with another")
            }
        }
    }
}

impl core::error::Error for InboxError {}

#[cfg(test)]
mod tests;
