//! The descriptors of outgoing frames, and which frame owns which.

use core::ops::Range;

use heapless::Vec;
use ipc_frame::{FrameNumber, Header, PushError};

use crate::contract::{FdList, Fds, MAX_FDS, TransportError};
use crate::fd::OwnedFd;

/// Descriptors, in the order of the frames that own them: at most as many as one frame may have.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The owner of each descriptor. Descriptors beyond these belong to a frame that is being
    /// written.
    owners: Vec<FrameNumber, MAX_FDS>,
    fds: FdList<MAX_FDS>,
}

impl Held {
    pub(super) const fn new() -> Self {
        Self { owners: Vec::new(), fds: FdList::new() }
    }

    /// Finds room for the descriptors of one more frame.
    #[inline]
    pub(super) fn check_room(&self, count: usize) -> Result<(), PushError> {
        match count {
            ..=MAX_FDS if count <= MAX_FDS - self.owners.len() => Ok(()),
            ..=MAX_FDS => Err(PushError::Full),
            _ => Err(PushError::TooManyFds { count, limit: ipc_frame::MAX_FDS }),
        }
    }

    /// Begins a frame with `count` descriptors.
    #[inline]
    pub(super) fn begin(&mut self, count: usize) -> Result<(), PushError> {
        // A room that was leaked has left its descriptors.
        self.close_staged();
        self.check_room(count)
    }

    /// The descriptors of the frame that is being written: room for `limit` of them.
    pub(super) fn staged(&mut self, limit: usize) -> Fds<'_> {
        self.fds.tail(self.owners.len(), limit)
    }

    /// How many descriptors are staged.
    #[inline]
    pub(super) fn staged_len(&self) -> usize {
        self.fds.len() - self.owners.len()
    }

    /// Gives the frame the descriptors that were staged.
    #[inline]
    pub(super) fn commit(&mut self, number: FrameNumber) {
        if self.staged_len() > 0 {
            // Both lists have the same capacity.
            _ = self.owners.resize(self.fds.len(), number);
        }
    }

    /// Closes the descriptors that are staged.
    #[inline]
    pub(super) fn close_staged(&mut self) {
        if self.staged_len() > 0 {
            self.staged(0).clear();
        }
    }

    fn range_of(&self, number: FrameNumber) -> Range<usize> {
        let mut owners = self.owners.iter();
        let start = owners.position(|&owner| owner == number).unwrap_or(self.owners.len());
        let rest = self.owners.get(start..).unwrap_or_default();
        start..start + rest.iter().take_while(|&&owner| owner == number).count()
    }

    /// Returns the descriptors of a frame, whose bytes begin with the first of the pieces: all that
    /// its header announces.
    pub(super) fn complete(
        &self,
        number: FrameNumber,
        pieces: &[&[u8]],
    ) -> Result<&[OwnedFd], TransportError> {
        let owned = self.fds.get(self.range_of(number)).unwrap_or_default();
        let header = pieces.first().and_then(|bytes| bytes.first_chunk());
        let header = header.and_then(|bytes| Header::decode(bytes).ok());
        let expected = header.map_or(0, |header| header.fd_count());
        if owned.len() != usize::from(expected) {
            return Err(TransportError::FdsGone { expected, held: owned.len() });
        }
        Ok(owned)
    }

    /// Moves a frame's descriptors into the view, and closes those that it has no room for.
    pub(super) fn take(&mut self, number: FrameNumber, fds: &mut Fds<'_>) {
        let range = self.range_of(number);
        self.fds.tail(range.start, MAX_FDS).deliver(range.len(), fds);
        self.owners.drain(range);
    }

    #[inline]
    pub(super) fn close(&mut self, number: FrameNumber) {
        if !self.owners.is_empty() {
            self.take(number, &mut FdList::<0>::new().fds());
        }
    }

    pub(super) fn forget(&mut self) {
        self.fds.forget();
        self.owners.clear();
    }

    /// Closes the descriptors of all frames that are gone.
    pub(super) fn close_where(&mut self, mut is_gone: impl FnMut(FrameNumber) -> bool) {
        while let Some(&gone) = self.owners.iter().find(|owner| is_gone(**owner)) {
            self.close(gone);
        }
    }
}
