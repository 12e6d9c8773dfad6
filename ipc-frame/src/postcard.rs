//! Serde types as messages in the postcard format.

use ::postcard::{Error, experimental};
use experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

use crate::message::{Decode, Encode, EncodeError, MaxLen, MessageError};

/// A message of a serde type, in version 1 of the postcard format
/// (<https://postcard.jamesmunns.com/wire-format>).
///
/// `&str` and `&[u8]` borrow from the payload. Decoding allocates only if the type itself does.
///
/// Do not decode a recursive type (one that contains a `Box` of itself) from an untrusted peer. The
/// peer chooses the depth, up to one level per byte, and can overflow the stack.
///
/// # Examples
/// ```
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Line<'a> { number: u32, text: &'a str }
/// use ipc_frame::{Decode, Encode, Header, Postcard, Queue};
///
/// let line = Postcard(Line { number: 300, text: "hello" });
/// let mut queue = Queue::<256, 4>::new();
/// let room = queue.reserve(line.encoded_len()?)?;
/// let len = line.encode(queue.payload_mut(&room))?;
/// queue.commit(room, Header::request(1, 1), 0, len)?;
///
/// # let (_, frame) = queue.next_unsent().ok_or("nothing to send")?;
/// // … and at the other end
/// let Postcard(line) = Postcard::<Line<'_>>::decode(frame.payload())?;
/// assert_eq!((line.number, line.text), (300, "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postcard<T>(pub T);

impl<T: Serialize> Encode for Postcard<T> {
    fn encoded_len(&self) -> Result<usize, EncodeError> {
        experimental::serialized_size(&self.0).map_err(|_| EncodeError::Unencodable)
    }

    fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> {
        let capacity = space.len();
        match ::postcard::to_slice(&self.0, space) {
            Ok(used) => Ok(used.len()),
            Err(Error::SerializeBufferFull) => {
                Err(EncodeError::TooLong { len: self.encoded_len()?, capacity })
            }
            Err(_) => Err(EncodeError::Unencodable),
        }
    }
}

impl<T: Serialize + MaxSize> MaxLen for Postcard<T> {
    const MAX_LEN: usize = T::POSTCARD_MAX_SIZE;
}

impl<'a, T: Deserialize<'a>> Decode<'a> for Postcard<T> {
    fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
        let len = payload.len();
        match ::postcard::take_from_bytes(payload) {
            Ok((message, [])) => Ok(Self(message)),
            Ok((_, rest)) => Err(MessageError::LeftOver { len, used: len - rest.len() }),
            Err(Error::DeserializeUnexpectedEnd) => Err(MessageError::Truncated { len }),
            Err(_) => Err(MessageError::Malformed { len }),
        }
    }
}
