//! Typed messages in payloads: encoded in place, decoded with borrowed fields.
//!
//! A format is a type that implements [`Encode`] and [`Decode`]. With the feature `postcard`,
//! `Postcard` implements both for every serde type.

use core::fmt;

/// A message that can be written into a payload.
///
/// # Examples
/// A custom format whose decoded message borrows from the payload:
/// ```
/// use ipc_frame::{Decode, Decoder, Encode, EncodeError, Header, MessageError, Queue};
///
/// /// A priority, then the rest is text.
/// #[derive(Debug, PartialEq)]
/// struct Line<'a> {
///     priority: u8,
///     text: &'a [u8],
/// }
///
/// impl Encode for Line<'_> {
///     fn encoded_len(&self) -> Result<usize, EncodeError> {
///         Ok(1 + self.text.len())
///     }
///
///     fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> {
///         let (len, capacity) = (self.encoded_len()?, space.len());
///         let space = space.get_mut(..len).ok_or(EncodeError::TooLong { len, capacity })?;
///         space[0] = self.priority;
///         space[1..].copy_from_slice(self.text);
///         Ok(len)
///     }
/// }
///
/// impl<'a> Decode<'a> for Line<'a> {
///     fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
///         let (priority, text) = payload.split_first().ok_or(MessageError::Truncated { len: 0 })?;
///         Ok(Self { priority: *priority, text })
///     }
/// }
///
/// let line = Line { priority: 3, text: b"disk full" };
/// let mut queue = Queue::<256, 4>::new();
/// let room = queue.reserve(line.encoded_len()?)?;
/// let len = line.encode(queue.payload_mut(&room))?;
/// queue.commit(room, Header::one_way(1, 0), 0, len)?;
/// # let mut decoder = Decoder::<256>::new();
/// # queue.send_with(|pieces, _| {
/// #     let len = pieces[0].len();
/// #     decoder.space()[..len].copy_from_slice(pieces[0]);
/// #     decoder.filled(len);
/// #     Ok::<_, ipc_frame::DecodeError>(Some(len))
/// # })?;
/// // … and at the other end
/// let frame = decoder.next_frame()?.ok_or("not yet whole")?;
/// assert_eq!(Line::decode(frame.payload())?, line);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Encode {
    /// Returns how many bytes [`encode`](Self::encode) writes.
    ///
    /// # Errors
    /// [`EncodeError::Unencodable`].
    fn encoded_len(&self) -> Result<usize, EncodeError>;

    /// Writes the message to the start of `space` and returns how many bytes it took.
    ///
    /// # Errors
    /// See [`EncodeError`]. The contents of `space` are then unspecified.
    fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError>;
}

#[cfg(test)]
static_assertions::assert_obj_safe!(Encode);

/// A message whose longest encoding is known at compile time. Not part of the public API: the
/// `service!` macro of ipc-worker uses it to check that arguments and results fit.
#[doc(hidden)]
pub trait MaxLen: Encode {
    /// Length in bytes of the longest message of this type.
    const MAX_LEN: usize;
}

/// A message that can be read from a payload, with fields that may borrow from it.
pub trait Decode<'a>: Sized {
    /// Decodes the message, which must fill all of `payload`.
    ///
    /// # Errors
    /// See [`MessageError`]. The payload may hold any bytes.
    fn decode(payload: &'a [u8]) -> Result<Self, MessageError>;
}

/// Why a message was not encoded. The sending program is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message is longer than the space given.
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes that fit.
        capacity: usize,
    },
    /// The format cannot represent this value, or the value's own serializer failed.
    Unencodable,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, capacity } => {
                write!(f, "cannot encode a message of {len} bytes: the capacity is {capacity}")
            }
            Self::Unencodable => f.write_str("cannot encode a value: its format does not allow it"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Why a payload is not a message of the expected type. The sender is at fault, or its build
/// differs. Only this frame is affected: later frames can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload ends inside the message.
    Truncated {
        /// Bytes of payload.
        len: usize,
    },
    /// Bytes are left over after the message.
    LeftOver {
        /// Bytes of payload.
        len: usize,
        /// Bytes of the message.
        used: usize,
    },
    /// The bytes do not decode to this type.
    Malformed {
        /// Bytes of payload.
        len: usize,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len } => write!(f, "message truncated after {len} bytes"),
            Self::LeftOver { len, used } => {
                write!(f, "bytes left over: the message has {used} bytes, its payload {len}")
            }
            Self::Malformed { len } => write!(f, "{len} bytes do not decode to the expected type"),
        }
    }
}

impl core::error::Error for MessageError {}
