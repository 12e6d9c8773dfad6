//! Room in an outbox for a frame that is written in place.

use ipc_frame::{FrameNumber, Header, PushError, Reservation};

use crate::contract::Fds;
use crate::joining::held::Held;

/// Room in an outbox for one frame. Dropping it appends nothing and closes its descriptors.
#[derive(Debug)]
pub struct Room<'a, const BYTES: usize, const FRAMES: usize> {
    pub(super) reservation: Reservation<'a, BYTES, FRAMES>,
    pub(super) staged: Staged<'a>,
}

/// The descriptors of a frame that is being written. Dropping it closes them.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    pub(super) held: &'a mut Held,
    pub(super) limit: usize,
}

impl<const BYTES: usize, const FRAMES: usize> Room<'_, BYTES, FRAMES> {
    /// Returns the room for the payload.
    pub fn payload(&mut self) -> &mut [u8] {
        self.reservation.payload()
    }

    /// Returns the frame's descriptors, with room for as many as were reserved.
    pub fn fds(&mut self) -> Fds<'_> {
        self.staged.held.staged(self.staged.limit)
    }

    /// Returns both: the room for the payload, and the frame's descriptors.
    pub fn parts(&mut self) -> (&mut [u8], Fds<'_>) {
        (self.reservation.payload(), self.staged.held.staged(self.staged.limit))
    }

    /// Appends the frame with the first `len` bytes of the room as its payload and with the
    /// descriptors that were pushed.
    ///
    /// # Errors
    /// [`PushError::TooManyFds`] where frames of this kind carry none. They are closed then.
    pub fn commit(self, header: Header, len: usize) -> Result<FrameNumber, PushError> {
        let Self { reservation, staged } = self;
        let number = reservation.commit(header, staged.held.staged_len(), len)?;
        staged.held.commit(number);
        Ok(number)
    }
}

impl Drop for Staged<'_> {
    #[inline]
    fn drop(&mut self) {
        self.held.close_staged();
    }
}
