//! What can go wrong on a connection, by the peer's doing or by the sender's own.

use core::fmt;

use ipc_frame::{EncodeError, Kind, PushError, Text};

use crate::contract::{SystemError, TransportError};
use crate::joining::joiner::InboxError;

/// A connection that gives no frame. All but [`TimedOut`](Self::TimedOut) and
/// [`Transport`](Self::Transport) are final: every later call fails, so drop the connection. Those two
/// change nothing, and the call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer has closed the connection or has ended, and all that it had sent was received.
    Closed,
    /// The deadline came first: the peer is silent, or does not receive.
    TimedOut,
    /// The peer writes frames of another version of the format.
    OtherFormat {
        /// The version of this program.
        ours: u32,
        /// The version of the peer.
        theirs: u32,
    },
    /// The peer speaks for another service.
    OtherService {
        /// The name that this program goes by.
        ours: Text<32>,
        /// The name that the peer goes by.
        theirs: Text<32>,
    },
    /// The peer speaks another version of the service.
    OtherVersion {
        /// The version of this program.
        ours: u64,
        /// The version of the peer.
        theirs: u64,
    },
    /// The peer's first frame is not a hello: it is a program of another kind.
    Malformed,
    /// The peer sent a frame that cannot come now: its first one is not a hello, or a later one is.
    OutOfPlace {
        /// What the frame is.
        kind: Kind,
    },
    /// The peer sent more descriptors with a frame than this side takes.
    FdsNotAllowed {
        /// Descriptors of the frame.
        count: u16,
        /// Most descriptors that this side takes.
        limit: u16,
    },
    /// The peer's bytes are not frames, or a frame is longer than this side takes.
    Frames(InboxError),
    /// The system or the transport failed. After [`FdsRefused`](TransportError::FdsRefused) the frame
    /// with those descriptors is dropped, and later ones go on. A
    /// [`PacketTooLong`](TransportError::PacketTooLong) or [`BrokenRing`](TransportError::BrokenRing)
    /// is final.
    Transport(TransportError),
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer has closed the connection or has ended"),
            Self::TimedOut => f.write_str("nothing came from the peer before the deadline"),
            Self::OtherFormat { ours, theirs } => {
                write!(f, "the peer's frames have format {theirs}, ours {ours}: update one program")
            }
            Self::OtherService { ours, theirs } => {
                write!(f, "the peer's service is {theirs:?}, ours {ours:?}: check the path")
            }
            Self::OtherVersion { ours, theirs } => {
                write!(
                    f,
                    "the peer's service has version {theirs}, ours {ours}: update one program"
                )
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

/// A frame that was not sent. Nothing of it went out or will, except after
/// [`Connection`](Self::Connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The peer's hello has not arrived: wait until the connection is open.
    NotOpen,
    /// Earlier frames fill the buffer: wait until the transport takes them.
    Full,
    /// The message is longer than this side sends or the peer takes.
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes that may be sent.
        capacity: usize,
    },
    /// More descriptors than the peer takes, than the transport carries or than a frame of the kind has.
    TooManyFds {
        /// The number asked for.
        count: usize,
        /// The number that may be sent.
        limit: u16,
    },
    /// Frames of this kind are the connection's own.
    OutOfPlace {
        /// What the frame is.
        kind: Kind,
    },
    /// The message was not written.
    Encode(EncodeError),
    /// A descriptor cannot be duplicated: `EMFILE`.
    NoFd(SystemError),
    /// The connection failed. The frame may be queued, and goes out by later calls where the connection
    /// still works: do not send it again.
    Connection(ConnectionError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the peer's hello has not arrived: wait for it"),
            Self::Full => f.write_str("earlier frames fill the buffer: wait for room"),
            Self::TooLong { len, capacity } => {
                write!(f, "a message of {len} bytes, over the {capacity} that were agreed on")
            }
            Self::TooManyFds { count, limit } => {
                write!(f, "{count} descriptors, over the limit of {limit} that were agreed on")
            }
            Self::OutOfPlace { kind } => write!(f, "a {kind} frame is not for the program to send"),
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
        match error {
            PushError::TooLong { len, capacity } => Self::TooLong { len, capacity },
            PushError::TooManyFds { count, limit } => Self::TooManyFds { count, limit },
            // The only other reason.
            _ => Self::Full,
        }
    }
}
