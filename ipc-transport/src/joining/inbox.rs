//! Arriving frames, each with the descriptors that are its own.

use core::fmt;

use heapless::Vec;
use heapless::deque::{Deque, DequeView};
use ipc_frame::{DecodeError, Decoder, Header, MAX_FDS};
use rustix::fd::OwnedFd;

use crate::contract::pass_fds::PassFds;
use crate::contract::transport::TransportError;

/// Receiving calls whose descriptors wait for their frame: once all whole frames are taken, only
/// the half frame at the end can still have a claim, and one more call may follow.
const BATCHES: usize = 2;
const PER_CALL: usize = MAX_FDS as usize;
const HELD: usize = BATCHES * PER_CALL;

/// Descriptors that came with the bytes `start..end` of the stream.
#[derive(Clone, Copy, Debug)]
struct Batch {
    start: u64,
    end: u64,
    fd_count: usize,
}

/// A frame that arrived, borrowed from its inbox.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The frame's bytes.
    pub payload: &'a [u8],
    /// The frame's descriptors, in order. What is left in it is closed when the inbox goes on.
    pub fds: &'a mut DequeView<OwnedFd>,
    /// The descriptors were lost on the way. Those that did arrive are closed.
    pub fds_lost: Option<FdsLost>,
}

/// Descriptors of one frame that did not all arrive, mostly because the receiver may open no
/// more (`EMFILE`). The stream stays in step: the frame's bytes and all other frames are whole.
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

/// A [`Decoder`] of `BYTES` bytes that also joins descriptors to their frames.
///
/// Descriptors that came with a range of bytes go to the first frame that begins in it and
/// announces some, and only if the number is right. All others are closed.
pub struct Inbox<const BYTES: usize> {
    decoder: Decoder<BYTES>,
    /// Descriptors of frames to come.
    waiting: Deque<OwnedFd, HELD>,
    batches: Deque<Batch, BATCHES>,
    /// Descriptors of the frame that was given out last.
    current: Deque<OwnedFd, PER_CALL>,
    lost: Option<FdsLost>,
    fd_sequence: u32,
    /// The stream is of no further use.
    failed: Option<InboxError>,
}

impl<const BYTES: usize> Inbox<BYTES> {
    /// An empty inbox.
    pub const fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            waiting: Deque::new(),
            batches: Deque::new(),
            current: Deque::new(),
            lost: None,
            fd_sequence: 0,
            failed: None,
        }
    }

    /// Receives once, as much as there is room for, and returns the count of bytes. `Ok(None)`
    /// where the transport would block, or where frames must be taken first.
    ///
    /// # Errors
    /// Those of the transport.
    pub fn receive(
        &mut self,
        transport: &mut impl PassFds,
    ) -> Result<Option<usize>, TransportError> {
        if !self.takes_fds() {
            return Ok(None);
        }
        let mut fds: Vec<OwnedFd, PER_CALL> = Vec::new();
        let start = self.decoder.received();
        let Some(received) = transport.receive_with(self.decoder.space(), &mut fds)? else {
            return Ok(None);
        };
        self.decoder.filled(received.len);
        if !fds.is_empty() {
            let end = self.decoder.received();
            _ = self.batches.push_back(Batch { start, end, fd_count: fds.len() });
            for fd in fds {
                _ = self.waiting.push_back(fd);
            }
        }
        Ok(Some(received.len))
    }

    /// Goes on to the next whole frame and returns its header; [`current`](Self::current) gives
    /// the rest. Descriptors left from the frame before are closed.
    ///
    /// # Errors
    /// The sender's fault each time, and final: see [`InboxError`].
    pub fn advance(&mut self) -> Result<Option<Header>, InboxError> {
        if !self.current.is_empty() {
            self.current.clear();
        }
        self.lost = None;
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = self.decoder.position();
        let Some(header) = self.decoder.advance().map_err(InboxError::Decode)? else {
            self.close_strays();
            return Ok(None);
        };
        if header.fd_count() > 0 {
            self.claim(start, header)?;
        }
        Ok(Some(header))
    }

    /// Returns what the frame carries that [`advance`](Self::advance) came to last.
    pub fn current(&mut self) -> Arrival<'_> {
        Arrival {
            payload: self.decoder.payload(),
            fds: self.current.as_mut_view(),
            fds_lost: self.lost,
        }
    }

    /// Returns whether [`advance`](Self::advance) would give a frame or an error.
    pub fn has_frame(&self) -> bool {
        self.failed.is_some() || self.decoder.has_frame()
    }

    /// Returns room to write a frame into that did not come through a transport; what is
    /// written becomes part of the stream by [`filled`](Self::filled).
    pub fn space(&mut self) -> &mut [u8] {
        self.decoder.space()
    }

    /// Returns whether another call's descriptors can be taken before frames are.
    pub fn takes_fds(&self) -> bool {
        !self.batches.is_full()
    }

    /// Adds the first `len` bytes of [`space`](Self::space) to the stream, and the descriptors
    /// to the frame that begins there. Those that there is no room for are closed.
    pub fn filled(&mut self, len: usize, fds: impl IntoIterator<Item = OwnedFd>) {
        let start = self.decoder.received();
        self.decoder.filled(len);
        if !self.takes_fds() {
            return;
        }
        let before = self.waiting.len();
        for fd in fds {
            _ = self.waiting.push_back(fd);
        }
        let fd_count = self.waiting.len() - before;
        if fd_count > 0 {
            let end = self.decoder.received();
            _ = self.batches.push_back(Batch { start, end, fd_count });
        }
    }

    /// Forgets all that arrived and closes its descriptors, for a new connection.
    pub fn reset(&mut self) {
        self.decoder.reset();
        self.waiting.clear();
        self.batches.clear();
        self.current.clear();
        self.lost = None;
        self.fd_sequence = 0;
        self.failed = None;
    }

    /// Empties the inbox of a process that was forked from its owner: the descriptors are not
    /// closed, since in this process their numbers are not the inbox's any more.
    pub fn forget(&mut self) {
        while let Some(fd) = self.waiting.pop_front().or_else(|| self.current.pop_front()) {
            core::mem::forget(fd);
        }
        self.reset();
    }

    /// Gives the frame that begins at `start` what came with its first byte.
    fn claim(&mut self, start: u64, header: Header) -> Result<(), InboxError> {
        if header.fd_sequence() != self.fd_sequence {
            let (expected, got) = (self.fd_sequence, header.fd_sequence());
            let error = InboxError::FdSequence { expected, got };
            self.failed = Some(error);
            return Err(error);
        }
        self.fd_sequence = self.fd_sequence.wrapping_add(u32::from(header.fd_count()));
        self.close_before(start);
        let got = match self.batches.front() {
            Some(batch) if batch.start <= start => batch.fd_count,
            _ => 0,
        };
        if got > 0 {
            self.batches.pop_front();
        }
        for _ in 0..got {
            // A batch is never larger than one call's, which is what the list holds.
            _ = self.waiting.pop_front().map(|fd| self.current.push_back(fd));
        }
        if got != usize::from(header.fd_count()) {
            self.current.clear();
            self.lost = Some(FdsLost { expected: header.fd_count(), got });
        }
        Ok(())
    }

    /// Closes what can belong to no frame, once all whole frames are taken: all but what came
    /// with the first byte of the half frame at the end.
    fn close_strays(&mut self) {
        if self.batches.is_empty() {
            return;
        }
        let position = self.decoder.position();
        self.close_before(position);
        let first = self.batches.front().filter(|batch| batch.start <= position);
        let kept = first.map_or(0, |batch| batch.fd_count);
        self.batches.truncate(usize::from(kept > 0));
        self.waiting.truncate(kept);
    }

    fn close_before(&mut self, position: u64) {
        while let Some(batch) = self.batches.front().filter(|batch| batch.end <= position) {
            for _ in 0..batch.fd_count {
                self.waiting.pop_front();
            }
            self.batches.pop_front();
        }
    }
}

impl<const BYTES: usize> Default for Inbox<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream that is of no further use, by the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InboxError {
    /// The bytes are no frames.
    Decode(DecodeError),
    /// A frame's descriptors are not numbered as the ones after those before.
    FdSequence {
        /// How many descriptors were announced before.
        expected: u32,
        /// What the frame says.
        got: u32,
    },
}

impl fmt::Display for InboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::FdSequence { expected, got } => {
                write!(f, "descriptor sequence {got} instead of {expected}")
            }
        }
    }
}

impl core::error::Error for InboxError {}
