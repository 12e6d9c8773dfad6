//! Decides which frame each received descriptor belongs to. It works on ranges and counts only.

use core::fmt;
use core::ops::Range;

use ipc_frame::{DecodeError, Header};

/// Decides which frame the descriptors of a stream belong to. It holds no descriptors and makes no
/// system calls. Its owner keeps the waiting descriptors and follows its decisions.
///
/// One receiving call returns the descriptors of at most one sending call, and ends with the bytes
/// of that sending call. So descriptors that came with a range of bytes belong to the last frame
/// that begins in the range and announces descriptors. Earlier frames in the range have lost
/// theirs.
///
/// At most one batch of descriptors waits for its frame. [`limit`](Self::limit) says how much may
/// be received meanwhile.
#[derive(Debug, Default)]
pub struct Joiner {
    /// The number of descriptors that the frames so far have announced, wrapping.
    sequence: u32,
    waiting: Option<Batch>,
    /// Where a frame begins that must not announce descriptors: its header begins at the end of a
    /// range whose descriptors belong to an earlier frame.
    barred: Option<u64>,
    /// Set when the stream cannot be read further.
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

    /// Records that `count` descriptors, at least one, came with the bytes `range` of the stream.
    /// Returns whether they wait for their frame; otherwise close them at once.
    ///
    /// `headers` are all complete headers that were not yet passed to [`frame`](Self::frame), each
    /// with its start in the stream. The first frame not yet passed starts at `position`.
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
                // Reading ends with an error at this frame.
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

    /// Decides for the next frame, which begins at `start`, and returns the descriptors that it
    /// lost. If this ends [the wait](Self::is_waiting) of some descriptors, they belong to the
    /// frame if it announces descriptors and lost none; otherwise close them.
    ///
    /// # Errors
    /// The sender broke the format. This is final: every later call returns the same error. Close
    /// descriptors that wait.
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

    /// Returns how many bytes may be received now without descriptors, after `received` bytes of
    /// the stream. Zero: take frames first. `None`: any number of bytes, with the descriptors of
    /// one call. For `headers` see [`arrived`](Self::arrived).
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

/// A frame's descriptors did not all arrive, usually because the receiver had no room for them or
/// reached its limit (`EMFILE`). The frame's bytes and all other frames are intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdsLost {
    /// Descriptors that the frame announced.
    pub expected: u16,
    /// Descriptors that arrived.
    pub got: usize,
}

impl fmt::Display for FdsLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} descriptors arrived", self.got, self.expected)
    }
}

impl core::error::Error for FdsLost {}

/// The sender broke the format, so the stream cannot be read further. Close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboxError {
    /// The bytes are not frames.
    Decode(DecodeError),
    /// A frame's descriptors do not follow in sequence.
    FdSequence {
        /// The number of descriptors announced before.
        expected: u32,
        /// The sequence number in the frame.
        got: u32,
    },
    /// Two frames announce the descriptors of the same sending call. The sender sent both frames in
    /// one call, or sent the second frame's descriptors without its first byte.
    FdsClaimedTwice {
        /// Descriptors that the second frame announces.
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
