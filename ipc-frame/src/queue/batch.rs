//! What a queue offers to a transport.

use crate::queue::FrameNumber;

/// Most pieces of one batch. Frames that lie side by side are one piece.
const PIECES: usize = 8;

/// What is to be sent next: bytes in pieces, and the frame whose descriptors go with them.
#[derive(Debug)]
pub struct Batch<'a> {
    pieces: [&'a [u8]; PIECES],
    count: usize,
    with_fds: Option<FrameNumber>,
}

impl<'a> Batch<'a> {
    pub(super) const fn new(with_fds: Option<FrameNumber>) -> Self {
        Self { pieces: [&[]; PIECES], count: 0, with_fds }
    }

    /// Answers false where the list is full: the piece goes with the next batch then.
    pub(super) fn add(&mut self, piece: &'a [u8]) -> bool {
        let place = self.pieces.get_mut(self.count);
        let has_room = place.is_some();
        if let Some(place) = place {
            *place = piece;
            self.count += 1;
        }
        has_room
    }

    /// Returns the bytes, in order.
    pub fn pieces(&self) -> &[&'a [u8]] {
        self.pieces.get(..self.count).unwrap_or_default()
    }

    /// Returns the frame that the batch begins with, if descriptors go with its first byte.
    pub const fn with_fds(&self) -> Option<FrameNumber> {
        self.with_fds
    }
}
