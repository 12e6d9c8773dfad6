//! Typed messages in payloads: written in place, read with borrowed fields.
//!
//! A format is an implementation of [`Encode`] and [`Decode`]. With the feature `postcard`,
//! `Postcard` implements both for every serde type.

use core::fmt;

/// A message that can be written into a payload.
///
/// # Examples
/// A custom format, which borrows what it reads:
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
    /// See [`EncodeError`]; what `space` holds is unspecified then.
    fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError>;
}

#[cfg(test)]
static_assertions::assert_obj_safe!(Encode);

/// A message whose longest form is known at compile time. No part of the interface: `service!` of
/// ipc-worker checks with it that arguments and results fit.
#[doc(hidden)]
pub trait MaxLen: Encode {
    /// Bytes of the longest message of this type.
    const MAX_LEN: usize;
}

/// A message that can be read from a payload, with fields that may borrow from it.
pub trait Decode<'a>: Sized {
    /// Reads the message that is the whole of `payload`.
    ///
    /// # Errors
    /// See [`MessageError`]; any bytes at all may come.
    fn decode(payload: &'a [u8]) -> Result<Self, MessageError>;
}

/// A message that was not written. The sending program is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The message is longer than the room for it.
    TooLong {
        /// Bytes of the message.
        len: usize,
        /// Bytes that fit.
        capacity: usize,
    },
    /// The format has no way to write this value, or the value itself refused.
    Unencodable,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, capacity } => {
                write!(f, "a message of {len} bytes, over the capacity of {capacity}")
            }
            Self::Unencodable => f.write_str("a value that the message's format cannot write"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// A payload that is not a message of the expected type. The sender is at fault, or its build
/// differs. Only this frame is concerned; the frames after it can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload ends within the message.
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
    /// The bytes have no meaning for this type.
    Malformed {
        /// Bytes of payload.
        len: usize,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len } => write!(f, "a message cut off after {len} bytes"),
            Self::LeftOver { len, used } => {
                write!(f, "a message of {used} bytes in a payload of {len}")
            }
            Self::Malformed { len } => {
                write!(f, "{len} bytes, not a message of the expected type")
            }
        }
    }
}

impl core::error::Error for MessageError {}
