//! Errors of a connection: the peer's and the caller's.

use core::fmt;

use ipc_frame::{EncodeError, Kind, PushError};

use crate::contract::{SystemError, TransportError};
use crate::joining::connection::hello::Hello;
use crate::joining::joiner::InboxError;

/// Why a connection returned no frame. After [`TimedOut`](Self::TimedOut),
/// [`Exhausted`](TransportError::Exhausted) and [`FdsRefused`](TransportError::FdsRefused) go on.
/// After any other error drop the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer has closed the connection or has ended, and everything that it sent was received.
    Closed,
    /// The deadline passed: the peer sends nothing, or does not receive.
    TimedOut,
    /// The peer uses another version of the frame format.
    OtherFormat {
        /// This program's version.
        ours: u32,
        /// The peer's version.
        theirs: u32,
    },
    /// The peer's service or version differs.
    OtherService {
        /// This program's hello.
        ours: Hello,
        /// The peer's hello.
        theirs: Hello,
    },
    /// The peer's hello cannot be decoded: it is probably another program.
    Malformed,
    /// The peer's first frame is not a hello, or a later one is.
    OutOfPlace {
        /// The kind of the frame.
        kind: Kind,
    },
    /// The peer sent more descriptors with a frame than this side accepts.
    FdsNotAllowed {
        /// Descriptors of the frame.
        count: u16,
        /// The most descriptors that this side accepts.
        limit: u16,
    },
    /// The peer's bytes are not frames, or a frame is longer than this side accepts.
    Frames(InboxError),
    /// The transport failed. After [`Exhausted`](TransportError::Exhausted) make the call again some
    /// milliseconds later; calls that end in `_until` do so themselves. After
    /// [`FdsRefused`](TransportError::FdsRefused) the frame with those descriptors is dropped, and
    /// later frames are still sent.
    Transport(TransportError),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer has closed the connection or has ended"),
            Self::TimedOut => f.write_str("deadline passed: the peer is silent or not receiving"),
            Self::OtherFormat { ours, theirs } => {
                write!(f, "the peer's frames have format {theirs}, ours {ours}: update one of them")
            }
            Self::OtherService { ours, theirs } => {
                write!(f, "the peer's service is {theirs}, ours is {ours}")
            }
            Self::Malformed => f.write_str("the peer's hello is malformed: check the path"),
            Self::OutOfPlace { kind } => write!(f, "the peer sent a {kind} frame out of place"),
            Self::FdsNotAllowed { count, limit } => {
                write!(
                    f,
                    "the peer sent {count} descriptors with a frame, over the limit of {limit}"
                )
            }
            Self::Frames(error) => write!(f, "the peer's bytes are not accepted: {error}"),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConnectionError {}

impl From<TransportError> for ConnectionError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Closed => Self::Closed,
            error => Self::Transport(error),
        }
    }
}

/// Why a frame was not sent. It is not queued, and the peer will not get it.
///
/// There is one exception: if `send_until` fails with [`TimedOut`](ConnectionError::TimedOut), the
/// frame is queued. Do not send it again: later calls finish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The peer's hello has not arrived yet, or not until the deadline: wait until the connection
    /// is open.
    NotOpen,
    /// The buffer has no room until the transport takes earlier frames ([`Full`](PushError::Full)).
    /// Or the frame is over a limit: it is longer than either side allows, or has more descriptors
    /// than the peer accepts, the transport carries or its kind allows.
    Push(PushError),
    /// Programs must not send frames of this kind; the connection does.
    OutOfPlace {
        /// The kind of the frame.
        kind: Kind,
    },
    /// The message could not be encoded.
    Encode(EncodeError),
    /// A descriptor cannot be duplicated: `EMFILE`.
    NoFd(SystemError),
    /// The connection failed, or `send_until` reached its deadline. Or the kernel refused the
    /// descriptors of this frame or an earlier one: both are dropped.
    Connection(ConnectionError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the peer's hello has not arrived: wait for it"),
            Self::Push(PushError::TooLong { len, capacity }) => {
                write!(f, "a message of {len} bytes, over the limit of {capacity}")
            }
            Self::Push(error) => error.fmt(f),
            Self::OutOfPlace { kind } => write!(f, "only the connection may send a {kind} frame"),
            Self::Encode(error) => error.fmt(f),
            Self::NoFd(error) => write!(f, "a descriptor cannot be duplicated: {error}"),
            Self::Connection(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}

impl From<ConnectionError> for SendError {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

impl From<EncodeError> for SendError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

impl From<PushError> for SendError {
    fn from(error: PushError) -> Self {
        Self::Push(error)
    }
}
