//! The descriptors of outgoing frames, and which frame owns each.

use core::ops::Range;

use heapless::Vec;
use ipc_frame::{FrameNumber, Header, PushError};

use crate::contract::{FdList, Fds, MAX_FDS, TransportError};
use crate::fd::OwnedFd;

/// Descriptors, in the order of the frames that own them. All frames together own at most as many
/// as one frame may have.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The owner of each descriptor. Descriptors after these belong to a frame that is being
    /// written.
    owners: Vec<FrameNumber, MAX_FDS>,
    fds: FdList<MAX_FDS>,
}

impl Held {
    pub(super) const fn new() -> Self {
        Self { owners: Vec::new(), fds: FdList::new() }
    }

    /// Checks that `count` more descriptors fit.
    #[inline]
    pub(super) fn check_room(&self, count: usize) -> Result<(), PushError> {
        match count {
            ..=MAX_FDS if count <= MAX_FDS - self.owners.len() => Ok(()),
            ..=MAX_FDS => Err(PushError::Full),
            _ => Err(PushError::TooManyFds { count, limit: ipc_frame::MAX_FDS }),
        }
    }

    /// Begins a frame with room for `count` descriptors.
    #[inline]
    pub(super) fn begin(&mut self, count: usize) -> Result<(), PushError> {
        // A leaked `Room` leaves its descriptors here.
        self.close_staged();
        self.check_room(count)
    }

    /// The descriptors of the frame that is being written, with room for `limit`.
    pub(super) fn staged(&mut self, limit: usize) -> Fds<'_> {
        self.fds.tail(self.owners.len(), limit)
    }

    /// The number of staged descriptors.
    #[inline]
    pub(super) fn staged_len(&self) -> usize {
        self.fds.len() - self.owners.len()
    }

    /// Makes the frame the owner of the staged descriptors.
    #[inline]
    pub(super) fn commit(&mut self, number: FrameNumber) {
        if self.staged_len() > 0 {
            // Both lists have the same capacity.
            _ = self.owners.resize(self.fds.len(), number);
        }
    }

    /// Closes the staged descriptors.
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

    /// Returns the descriptors of a frame that begins in the first piece. Fails unless there are as
    /// many as its header announces.
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

    /// Moves a frame's descriptors into the view, and closes those that do not fit.
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

    /// Closes the descriptors of all frames for which `is_gone` returns true.
    pub(super) fn close_where(&mut self, mut is_gone: impl FnMut(FrameNumber) -> bool) {
        while let Some(&gone) = self.owners.iter().find(|owner| is_gone(**owner)) {
            self.close(gone);
        }
    }
}
