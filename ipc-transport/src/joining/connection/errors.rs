//! What can go wrong on a connection, by the peer's doing or by the sender's own.

use core::fmt;

use ipc_frame::{EncodeError, Kind, PushError};

use crate::contract::{SystemError, TransportError};
use crate::joining::connection::hello::Hello;
use crate::joining::joiner::InboxError;

/// Why a connection gives no frame. After [`TimedOut`](Self::TimedOut) and
/// [`Transport`](Self::Transport) the call may be made again. Every other error is final: later calls
/// fail, too, so drop the connection.
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
    /// The peer speaks for another service, or another version of it.
    OtherService {
        /// What this program says of itself.
        ours: Hello,
        /// What the peer says of itself.
        theirs: Hello,
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
            Self::TimedOut => {
                f.write_str("the deadline came first: the peer is silent or does not receive")
            }
            Self::OtherFormat { ours, theirs } => {
                write!(f, "the peer's frames have format {theirs}, ours {ours}: update one of them")
            }
            Self::OtherService { ours, theirs } => {
                write!(f, "the peer speaks for {theirs}, this program for {ours}")
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

/// Why a frame was not sent. Nothing of it went out or will, except where `send_until` fails with
/// [`Connection`](Self::Connection).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The peer's hello has not arrived: wait until the connection is open.
    NotOpen,
    /// The buffer has no room until the transport takes earlier frames ([`Full`](PushError::Full)), or
    /// the frame is over what was agreed on: it is longer than this side sends or the peer takes, or it
    /// has more descriptors than the peer takes, the transport carries or its kind allows.
    Push(PushError),
    /// Only the connection itself sends frames of this kind.
    OutOfPlace {
        /// What the frame is.
        kind: Kind,
    },
    /// The message was not written.
    Encode(EncodeError),
    /// A descriptor cannot be duplicated: `EMFILE`.
    NoFd(SystemError),
    /// The connection failed, or the system refuses the descriptors of this frame or of one before it.
    ///
    /// Where `send_until` fails with [`TimedOut`](ConnectionError::TimedOut), the frame may be queued. Do
    /// not send it again: later calls finish it.
    Connection(ConnectionError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the peer's hello has not arrived: wait for it"),
            Self::Push(PushError::TooLong { len, capacity }) => {
                write!(f, "a message of {len} bytes, over the {capacity} that were agreed on")
            }
            Self::Push(error) => error.fmt(f),
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
        Self::Push(error)
    }
}
