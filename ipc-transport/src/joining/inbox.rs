//! Received frames, each with its own descriptors.

use ipc_frame::{Decode, Decoder, Header, MessageError};
use static_assertions::assert_impl_all;

use crate::contract::{FdList, Fds, MAX_FDS, Moved, PassFds, Received, Transport, TransportError};
use crate::joining::joiner::{FdsLost, InboxError, Joiner};

/// The result of a receiving call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Arrived {
    /// This many bytes arrived, at least one. There may be more, even if poll(2) does not show
    /// them: receive again before waiting for input.
    Bytes(usize),
    /// Nothing to receive. Wait for input before the next call.
    WouldBlock,
    /// Nothing was received: take frames by [`Inbox::advance`] first. The transport may have more.
    TakeFrames,
}

/// A received frame, borrowed from its inbox.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrival<'a> {
    /// The frame's payload.
    pub payload: &'a [u8],
    /// The frame's descriptors, in order. The next [`advance`](Inbox::advance) closes those that
    /// were not taken.
    pub fds: Fds<'a>,
    /// Set if some of the frame's descriptors were lost. The others were closed.
    pub fds_lost: Option<FdsLost>,
}

impl<'a> Arrival<'a> {
    /// Reads the payload as a message.
    ///
    /// # Errors
    /// See [`MessageError`]. Other frames are not affected.
    pub fn message<M: Decode<'a>>(&self) -> Result<M, MessageError> {
        M::decode(self.payload)
    }
}

/// A [`Decoder`] of `BYTES` bytes that also matches descriptors to their frames.
///
/// It holds at most 253 descriptors that wait for their frame, and the descriptors of the current
/// frame. A frame gets all its descriptors, or its [`fds_lost`](Arrival::fds_lost) is set. No frame
/// gets another frame's descriptors, even if the sender lies.
#[derive(Debug, Default)]
pub struct Inbox<const BYTES: usize> {
    pub(super) decoder: Decoder<BYTES>,
    pub(super) joined: Joins,
}

/// What an inbox holds besides its bytes.
#[derive(Debug, Default)]
pub(super) struct Joins {
    joiner: Joiner,
    /// Descriptors that wait for their frame.
    waiting: FdList<MAX_FDS>,
    /// Descriptors of the current frame.
    current: FdList<MAX_FDS>,
    lost: Option<FdsLost>,
}

assert_impl_all!(Inbox<64>: Send, Sync);

impl Joins {
    pub(super) const fn new() -> Self {
        Self { joiner: Joiner::new(), waiting: FdList::new(), current: FdList::new(), lost: None }
    }

    fn fail(&mut self, error: InboxError) -> InboxError {
        self.waiting.fds().clear();
        self.joiner.failed = Some(error);
        error
    }
}

impl<const BYTES: usize> Inbox<BYTES> {
    /// An empty inbox.
    pub const fn new() -> Self {
        Self { decoder: Decoder::new(), joined: Joins::new() }
    }

    /// Receives once, as many bytes as fit. Closes descriptors that come with them.
    ///
    /// # Errors
    /// As [`Transport::receive`].
    pub fn receive(&mut self, transport: &mut impl Transport) -> Result<Arrived, TransportError> {
        self.receive_by(0, |space, _| {
            let received = transport.receive(space);
            received.map(|len| len.map(|len| Received { len, fds_truncated: false }))
        })
    }

    /// Receives once, as many bytes as fit, with up to `room` descriptors. Closes the rest. Let
    /// `room` be the most descriptors that any frame in flight may have.
    ///
    /// # Errors
    /// As [`PassFds::receive_with`].
    pub fn receive_with(
        &mut self,
        transport: &mut impl PassFds,
        room: usize,
    ) -> Result<Arrived, TransportError> {
        self.receive_by(room, |space, fds| transport.receive_with(space, fds))
    }

    #[inline]
    fn receive_by(
        &mut self,
        room: usize,
        call: impl FnOnce(&mut [u8], &mut Fds<'_>) -> Moved<Received>,
    ) -> Result<Arrived, TransportError> {
        let start = self.decoder.received();
        let (limit, room) = match self.joined.joiner.limit(start, self.decoder.headers()) {
            None => (usize::MAX, room),
            Some(len) => (usize::try_from(len).unwrap_or(usize::MAX), 0),
        };
        let space = self.decoder.space();
        let limit = limit.min(space.len());
        let space = space.get_mut(..limit).unwrap_or_default();
        if space.is_empty() {
            return Ok(Arrived::TakeFrames);
        }
        let held = self.joined.waiting.len();
        let mut fds = self.joined.waiting.tail(held, room);
        let answer = call(space, &mut fds);
        if let Ok(Some(Received { len, .. })) = answer {
            self.arrived(start, len);
            return Ok(Arrived::Bytes(len));
        }
        fds.clear();
        answer.map(|_| Arrived::WouldBlock)
    }

    /// Moves to the next complete frame and returns its header; [`current`](Self::current) returns
    /// the rest. Closes the previous frame's remaining descriptors. Returns `None` if no complete
    /// frame has arrived.
    ///
    /// # Errors
    /// The sender broke the format, which is final: see [`InboxError`].
    pub fn advance(&mut self) -> Result<Option<Header>, InboxError> {
        if !self.joined.current.is_empty() {
            self.joined.current.fds().clear();
        }
        self.joined.lost = None;
        if let Some(error) = self.joined.joiner.failed {
            return Err(error);
        }
        let start = self.decoder.position();
        let header = match self.decoder.advance() {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.joined.fail(InboxError::Decode(error))),
        };
        let lost = self.joined.joiner.frame(start, &header);
        self.joined.lost = lost.map_err(|error| self.joined.fail(error))?;
        if !self.joined.joiner.is_waiting() && !self.joined.waiting.is_empty() {
            // Descriptors that do not fit are closed.
            let is_whole = header.fd_count() > 0 && self.joined.lost.is_none();
            let mut current = self.joined.current.fds_up_to(if is_whole { MAX_FDS } else { 0 });
            let count = self.joined.waiting.len();
            self.joined.waiting.fds().deliver(count, &mut current);
        }
        Ok(Some(header))
    }

    /// Returns the current frame, which [`advance`](Self::advance) last moved to.
    pub fn current(&mut self) -> Arrival<'_> {
        Arrival {
            payload: self.decoder.payload(),
            fds: self.joined.current.fds(),
            fds_lost: self.joined.lost,
        }
    }

    /// Returns whether [`advance`](Self::advance) would return a frame or an error.
    pub fn has_frame(&self) -> bool {
        self.joined.joiner.failed.is_some() || self.decoder.has_frame()
    }

    /// Returns space for a frame that does not come through a transport. Add it to the stream with
    /// [`filled`](Self::filled).
    pub fn space(&mut self) -> &mut [u8] {
        self.decoder.space()
    }

    /// Returns whether descriptors can be received before more frames are taken.
    pub const fn takes_fds(&self) -> bool {
        !self.joined.joiner.is_waiting()
    }

    /// Adds the first `len` bytes of [`space`](Self::space) to the stream, with the descriptors of
    /// the frame in it. If descriptors already wait for an earlier frame, or there are more than
    /// 253, they are closed and the frame has lost them.
    pub fn filled(&mut self, len: usize, fds: &mut Fds<'_>) {
        let start = self.decoder.received();
        let room = if self.takes_fds() { MAX_FDS } else { 0 };
        fds.deliver(fds.len(), &mut self.joined.waiting.fds_up_to(room));
        self.arrived(start, len);
    }

    /// Discards all bytes and closes all descriptors, for a new connection.
    pub fn reset(&mut self) {
        self.decoder.reset();
        self.joined = Joins::new();
    }

    /// Empties an inbox that was copied by fork. The descriptors are not closed: in this process
    /// their numbers may have been reused.
    pub fn forget(&mut self) {
        self.joined.waiting.forget();
        self.joined.current.forget();
        self.reset();
    }

    /// Passes `len` bytes to the decoder, and their descriptors to the joiner.
    #[inline]
    fn arrived(&mut self, start: u64, len: usize) {
        self.decoder.filled(len);
        let Joins { joiner, waiting, .. } = &mut self.joined;
        if !waiting.is_empty() && !joiner.is_waiting() {
            let (range, position) = (start..self.decoder.received(), self.decoder.position());
            if !joiner.arrived(range, waiting.len(), position, self.decoder.headers()) {
                waiting.fds().clear();
            }
        }
    }
}
