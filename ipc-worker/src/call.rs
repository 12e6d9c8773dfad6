//! What main asks of a worker, and why it may not be taken.

use core::fmt;
use core::time::Duration;

use ipc_frame::{Encode, EncodeError};
use ipc_transport::{Instant, SystemError};
use rustix::fd::BorrowedFd;

use crate::ledger::Again;

/// How often a request may begin unless [`Call::tries`] says otherwise.
const TRIES: u8 = 3;

/// A request. It only borrows: what is taken is copied, its descriptors are duplicated.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// What the handler is asked to do; the numbers are the program's own.
    pub method: u16,
    /// The bytes.
    pub body: Body<'a>,
    /// Descriptors that the handler is given, at most 253.
    pub fds: &'a [BorrowedFd<'a>],
    /// Most descriptors that its reply may bring, at most 253.
    pub reply_fds: u16,
    /// When main wants an outcome at the latest.
    pub deadline: Option<Instant>,
    /// Whether it may be sent again.
    pub again: Again,
    /// How often it may begin, if it may begin again.
    pub tries: u8,
    /// How long it may run, if not as long as the worker's
    /// [`time_limit`](crate::Start::time_limit) says.
    pub time_limit: Option<Duration>,
    /// By which worker of a [`Pool`](crate::Pool) it is to be run.
    pub key: Option<u64>,
    /// What is put into the block of shared memory that the request is lent, if it is lent one.
    pub block: Option<&'a [&'a [u8]]>,
}

impl<'a> Call<'a> {
    /// A call without descriptors or deadline, sent again if it had not begun. The pieces are
    /// sent one after the other.
    pub const fn new(method: u16, pieces: &'a [&'a [u8]]) -> Self {
        let (body, again) = (Body::Pieces(pieces), Again::IfNotBegun);
        let (fds, reply_fds, deadline, time_limit) = (&[], 0, None, None);
        let (tries, key, block) = (TRIES, None, None);
        Self { method, body, fds, reply_fds, deadline, again, tries, time_limit, key, block }
    }

    /// The same with a message, which is written straight into the queue.
    pub const fn message(method: u16, message: &'a dyn Encode) -> Self {
        Self { body: Body::Message(message), ..Self::new(method, &[]) }
    }

    /// Adds descriptors, at most 253.
    #[must_use]
    pub const fn fds(self, fds: &'a [BorrowedFd<'a>]) -> Self {
        Self { fds, ..self }
    }

    /// Allows the reply to bring up to `count` descriptors, at most 253. Without this a handler
    /// cannot add any, and a worker that sends some all the same is killed.
    #[must_use]
    pub const fn reply_fds(self, count: u16) -> Self {
        Self { reply_fds: count, ..self }
    }

    /// Sets a deadline, at which the call has an outcome whatever the worker does.
    #[must_use]
    pub const fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Sets the resend policy.
    #[must_use]
    pub const fn again(self, again: Again) -> Self {
        Self { again, ..self }
    }

    /// Sets how often the call may begin where [`again`](Self::again) lets it begin more than once:
    /// 3 unless said otherwise. If its worker dies that often, its outcome is
    /// [`SetAside`](crate::Outcome::SetAside).
    #[must_use]
    pub const fn tries(self, tries: u8) -> Self {
        Self { tries, ..self }
    }

    /// Sets how long the handler may run, if that is shorter than the worker's
    /// [`time_limit`](crate::Start::time_limit): then it is asked to stop, and after the grace its
    /// worker is killed. The time begins when the requests before it are answered.
    #[must_use]
    pub const fn time_limit(self, time: Duration) -> Self {
        Self { time_limit: Some(time), ..self }
    }

    /// Sends all calls of one key to the same worker of a [`Pool`](crate::Pool), which runs them in
    /// their order. A single worker takes no notice of it.
    #[must_use]
    pub const fn key(self, key: u64) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Lends the request a block of shared memory for large payloads, with these pieces in it, one
    /// after the other; it may be empty. The handler finds it in
    /// [`Request::block`](crate::Request::block), and may put its reply into it. The worker is started
    /// with [`Start::blocks`](crate::Start::blocks).
    ///
    /// The block is free again when the outcome was told, and the handler, if it was running then, has
    /// returned or died. A request that is sent again has the block as its last worker has left it.
    #[must_use]
    pub const fn block(self, pieces: &'a [&'a [u8]]) -> Self {
        Self { block: Some(pieces), ..self }
    }
}

/// The bytes of a request.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Pieces, which are sent one after the other.
    Pieces(&'a [&'a [u8]]),
    /// A message, not written yet.
    Message(&'a dyn Encode),
}

impl Encode for Body<'_> {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        match self {
            Self::Pieces(pieces) => {
                Ok(pieces.iter().fold(0, |sum: usize, piece| sum.saturating_add(piece.len())))
            }
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

/// A request that was not taken. Nothing else ever happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken<Tag> {
    /// The caller's tag, given back.
    pub tag: Tag,
    /// Why.
    pub why: Why,
}

impl<Tag> fmt::Display for NotTaken<Tag> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<Tag: fmt::Debug> core::error::Error for NotTaken<Tag> {}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// All slots, bytes, places for descriptors or blocks are in use. There is room again after events.
    Full,
    /// The bytes are longer than a request may ever be, or those of its block than a block is.
    TooLong {
        /// Bytes of the request.
        len: usize,
        /// Bytes of the longest request.
        capacity: usize,
    },
    /// The message cannot be written at all; see [`EncodeError::Unencodable`].
    Unencodable,
    /// More descriptors than one request carries.
    TooManyFds {
        /// Descriptors of the request.
        count: usize,
        /// The most that one request carries.
        capacity: usize,
    },
    /// A descriptor could not be duplicated: mostly `EMFILE`.
    NoFdLeft(SystemError),
    /// It is to be lent a block, and the worker was started without
    /// [`Start::blocks`](crate::Start::blocks).
    NoBlocks,
    /// The worker was stopped or given up.
    Stopped,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("as many requests are under way as fit"),
            Self::TooLong { len, capacity } => {
                write!(f, "a request of {len} bytes, over the limit of {capacity}")
            }
            Self::Unencodable => EncodeError::Unencodable.fmt(f),
            Self::TooManyFds { count, capacity } => {
                write!(f, "a request with {count} descriptors, over the limit of {capacity}")
            }
            Self::NoFdLeft(error) => write!(f, "a descriptor cannot be duplicated: {error}"),
            Self::NoBlocks => {
                f.write_str("a request with a block, of a worker without Start::blocks")
            }
            Self::Stopped => f.write_str("the worker is stopped"),
        }
    }
}

impl core::error::Error for Why {}
