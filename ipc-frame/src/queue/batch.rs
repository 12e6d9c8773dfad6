//! What a queue offers to a transport.

use crate::queue::frames::FrameNumber;

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

    /// Appends a piece. Where the list is full, it goes with the next batch.
    pub(super) fn add(&mut self, piece: &'a [u8]) {
        if let Some(place) = self.pieces.get_mut(self.count) {
            *place = piece;
            self.count += 1;
        }
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
