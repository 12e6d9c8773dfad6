//! A request, and why it may be rejected.

use core::fmt;
use core::time::Duration;

use ipc_frame::{Encode, EncodeError};
use ipc_transport::{Instant, SystemError};
use rustix::fd::BorrowedFd;

use crate::ledger::Again;

/// How often a request may begin by default; see [`Call::tries`].
const TRIES: u8 = 3;

/// A request. It borrows everything: accepting it copies the bytes and duplicates the descriptors.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The method number, chosen by the program.
    pub method: u16,
    /// The bytes.
    pub body: Body<'a>,
    /// Descriptors for the handler, at most 253.
    pub fds: &'a [BorrowedFd<'a>],
    /// How many descriptors the reply may carry, at most 253.
    pub reply_fds: u16,
    /// When the request must have an outcome.
    pub deadline: Option<Instant>,
    /// When it may be sent again.
    pub again: Again,
    /// How often it may begin, if it may begin more than once.
    pub tries: u8,
    /// How long it may run, if shorter than the worker's [`time_limit`](crate::Start::time_limit).
    pub time_limit: Option<Duration>,
    /// The key that selects a worker of a [`Pool`](crate::Pool).
    pub key: Option<u64>,
    /// The payload for a block of shared memory, if the request needs a block.
    pub block: Option<&'a [&'a [u8]]>,
}

impl<'a> Call<'a> {
    /// A call without descriptors or a deadline. It is resent only if its handler had not begun.
    /// The pieces are joined.
    pub const fn new(method: u16, pieces: &'a [&'a [u8]]) -> Self {
        let (body, again) = (Body::Pieces(pieces), Again::IfNotBegun);
        let (fds, reply_fds, deadline, time_limit) = (&[], 0, None, None);
        let (tries, key, block) = (TRIES, None, None);
        Self { method, body, fds, reply_fds, deadline, again, tries, time_limit, key, block }
    }

    /// A call like that of [`new`](Self::new), with a message that is encoded directly into the
    /// queue.
    pub const fn message(method: u16, message: &'a dyn Encode) -> Self {
        Self { body: Body::Message(message), ..Self::new(method, &[]) }
    }

    /// Adds descriptors, at most 253.
    #[must_use]
    pub const fn fds(self, fds: &'a [BorrowedFd<'a>]) -> Self {
        Self { fds, ..self }
    }

    /// Allows the reply to carry up to `count` descriptors, at most 253. Without this it carries
    /// none. A worker that sends more than allowed is killed.
    #[must_use]
    pub const fn reply_fds(self, count: u16) -> Self {
        Self { reply_fds: count, ..self }
    }

    /// Sets a deadline. The call has an outcome by then, whatever the worker does.
    #[must_use]
    pub const fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Sets the resend policy.
    #[must_use]
    pub const fn again(self, again: Again) -> Self {
        Self { again, ..self }
    }

    /// Sets how often the call may begin, if [`again`](Self::again) allows more than once. The
    /// default is 3. If its worker dies that often, the outcome is
    /// [`SetAside`](crate::Outcome::SetAside).
    #[must_use]
    pub const fn tries(self, tries: u8) -> Self {
        Self { tries, ..self }
    }

    /// Sets how long the handler may run, if shorter than the worker's
    /// [`time_limit`](crate::Start::time_limit). After that time the handler is asked to stop, and
    /// after the grace period its worker is killed. The time starts once all earlier requests are
    /// answered.
    #[must_use]
    pub const fn time_limit(self, time: Duration) -> Self {
        Self { time_limit: Some(time), ..self }
    }

    /// Sends all calls with the same key to the same worker of a [`Pool`](crate::Pool), which runs
    /// them in order. A single worker ignores the key.
    #[must_use]
    pub const fn key(self, key: u64) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Lends the request a block of shared memory, for large payloads. The pieces are joined in the
    /// block, which may also stay empty. The handler gets it from
    /// [`Request::block`](crate::Request::block) and can put its reply there. The worker must be
    /// started with [`Start::blocks`](crate::Start::blocks).
    ///
    /// The block is free again once the outcome was reported and the handler, if still running, has
    /// returned or died. A request that is sent again gets the block as the previous worker left
    /// it.
    #[must_use]
    pub const fn block(self, pieces: &'a [&'a [u8]]) -> Self {
        Self { block: Some(pieces), ..self }
    }
}

/// The bytes of a request.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Pieces, which are joined.
    Pieces(&'a [&'a [u8]]),
    /// A message, which is encoded when the request is accepted.
    Message(&'a dyn Encode),
}

/// Returns the total length of the pieces, which saturates.
pub(crate) fn len_of(pieces: &[&[u8]]) -> usize {
    pieces.iter().fold(0, |sum: usize, piece| sum.saturating_add(piece.len()))
}

impl Encode for Body<'_> {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        match self {
            Self::Pieces(pieces) => Ok(len_of(pieces)),
            Self::Message(message) => message.encoded_len(),
        }
    }

    fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> {
        let pieces = match self {
            Self::Pieces(pieces) => pieces,
            Self::Message(message) => return message.encode(space),
        };
        let (len, capacity) = (self.encoded_len()?, space.len());
        let mut rest = space;
        for piece in *pieces {
            let place = rest.split_off_mut(..piece.len());
            place.ok_or(EncodeError::TooLong { len, capacity })?.copy_from_slice(piece);
        }
        Ok(len)
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Body").field(&self.encoded_len()).finish()
    }
}

/// A request that was not accepted. It has no further effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken<Tag> {
    /// The caller's tag, returned.
    pub tag: Tag,
    /// The reason.
    pub why: Why,
}

impl<Tag> fmt::Display for NotTaken<Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<Tag: fmt::Debug> core::error::Error for NotTaken<Tag> {}

/// Why a request was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// All slots, bytes, descriptor places or blocks are in use. There is room again after events,
    /// or when [`Worker::next_deadline`](crate::Worker::next_deadline) says so.
    Full,
    /// The request is longer than any that could be accepted, or its payload is longer than a
    /// block.
    TooLong {
        /// Bytes of the request or payload.
        len: usize,
        /// Bytes of the longest request, or of a block.
        capacity: usize,
    },
    /// The message cannot be encoded; see [`EncodeError::Unencodable`].
    Unencodable,
    /// A request cannot carry this many descriptors.
    TooManyFds {
        /// Descriptors of the request.
        count: usize,
        /// Most descriptors that one request can carry.
        capacity: usize,
    },
    /// A descriptor could not be duplicated, usually because of `EMFILE`.
    NoFdLeft(SystemError),
    /// The request needs a block, but the worker was started without
    /// [`Start::blocks`](crate::Start::blocks).
    NoBlocks,
    /// The worker was stopped, or was given up.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no room: take events, then retry"),
            Self::TooLong { len, capacity } => {
                write!(f, "a payload of {len} bytes is over the limit of {capacity}")
            }
            Self::Unencodable => EncodeError::Unencodable.fmt(f),
            Self::TooManyFds { count, capacity } => {
                write!(f, "cannot take a request with {count} descriptors: the limit is {capacity}")
            }
            Self::NoFdLeft(error) => write!(f, "cannot duplicate a descriptor: {error}"),
            Self::NoBlocks => f.write_str("no blocks to lend: start the worker with Start::blocks"),
            Self::Stopped => f.write_str("the worker is stopped; see Worker::revive"),
        }
    }
}

impl core::error::Error for Why {}
