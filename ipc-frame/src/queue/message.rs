//! Typed messages, written straight into the queue.

use crate::header::Header;
use crate::message::{Bounded, Encode};
use crate::queue::{FrameNumber, PushError, Queue};

impl<const BYTES: usize, const FRAMES: usize> Queue<BYTES, FRAMES> {
    /// Appends a frame whose payload is the message, written straight into the queue.
    ///
    /// # Errors
    /// As [`push`](Self::push), and [`PushError::Unencodable`]. Nothing is appended then.
    pub fn push_message<M: Encode + ?Sized>(
        &mut self,
        header: Header,
        message: &M,
    ) -> Result<FrameNumber, PushError> {
        let room = message.encoded_len()?;
        let mut reservation = self.reserve(room)?;
        let len = message.encode(reservation.payload())?;
        if len > room {
            // It does not know its own length.
            return Err(PushError::Unencodable);
        }
        Ok(reservation.commit(header, len))
    }

    /// Appends a frame as [`push_message`](Self::push_message) does. That the longest message of
    /// the type fits is checked when the program is compiled.
    ///
    /// # Errors
    /// As [`push_message`](Self::push_message), but never [`PushError::TooLong`] for a type that
    /// keeps to its [`Bounded::MAX_LEN`].
    ///
    /// # Examples
    /// ```
    /// # use ipc_frame::{Bounded, Encode, EncodeError, Header, Kind, PushError, Queue};
    /// struct Level(u32);
    ///
    /// impl Encode for Level {
    ///     # fn encoded_len(&self) -> Result<usize, EncodeError> { Ok(4) }
    ///     # fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> { Ok(4) }
    ///     // …
    /// }
    ///
    /// impl Bounded for Level {
    ///     const MAX_LEN: usize = 4;
    /// }
    ///
    /// let mut queue = Queue::<28, 1>::new(); // 24 of header, 4 of payload
    /// queue.push_bounded(Header::new(Kind::Log, 0, 0), &Level(7))?;
    /// # Ok::<(), PushError>(())
    /// ```
    ///
    /// ```compile_fail
    /// # use ipc_frame::{Bounded, Encode, EncodeError, Header, Kind, PushError, Queue};
    /// struct Level(u32);
    ///
    /// impl Encode for Level {
    ///     # fn encoded_len(&self) -> Result<usize, EncodeError> { Ok(4) }
    ///     # fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> { Ok(4) }
    ///     // …
    /// }
    ///
    /// impl Bounded for Level {
    ///     const MAX_LEN: usize = 4;
    /// }
    ///
    /// let mut queue = Queue::<27, 1>::new(); // one byte less
    /// queue.push_bounded(Header::new(Kind::Log, 0, 0), &Level(7))?;
    /// # Ok::<(), PushError>(())
    /// ```
    pub fn push_bounded<M: Bounded + ?Sized>(
        &mut self,
        header: Header,
        message: &M,
    ) -> Result<FrameNumber, PushError> {
        const { assert!(M::MAX_LEN <= Self::CAPACITY, "the longest message fits in the queue") };
        self.push_message(header, message)
    }
}
