//! Every type that serde knows, as a message in the postcard format.

use ::postcard::{Error, experimental};
use experimental::max_size::MaxSize;
use serde::{Deserialize, Serialize};

use crate::message::{Bounded, Decode, Encode, EncodeError, MessageError};

/// A message of a serde type, in version 1 of the postcard format
/// (<https://postcard.jamesmunns.com/wire-format>).
///
/// Strings and bytes can be borrowed from the payload (`&str`, `&[u8]`). Nothing is allocated but
/// by types that do so themselves. A type with postcard's `MaxSize` is [`Bounded`].
///
/// A type that contains itself, in a `Box`, is read to whatever depth the bytes ask for, up to one
/// level for each: take none from a peer that is not trusted, or the stack may not suffice.
///
/// # Examples
/// ```
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Line<'a> { number: u32, text: &'a str }
/// use ipc_frame::{Header, Kind, Postcard, Queue};
///
/// let mut queue = Queue::<256, 4>::new();
/// let header = Header::new(Kind::Request, 1, 1);
/// queue.push_message(header, &Postcard(Line { number: 300, text: "hello" }))?;
///
/// # let (_, frame) = queue.next_unsent().ok_or("nothing to send")?;
/// // … and at the other end
/// let Postcard(line) = frame.message::<Postcard<Line<'_>>>()?;
/// assert_eq!((line.number, line.text), (300, "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A bounded message can be checked against a queue's capacity when the program is compiled:
/// ```
/// # use ipc_frame::{Header, Kind, Postcard, PushError, Queue};
/// let mut queue = Queue::<39, 1>::new(); // 24 of header, 10 + 5 of payload
/// queue.push_bounded(Header::new(Kind::Log, 0, 0), &Postcard((1_u64, 2_u32)))?;
/// # Ok::<(), PushError>(())
/// ```
///
/// ```compile_fail
/// # use ipc_frame::{Header, Kind, Postcard, PushError, Queue};
/// let mut queue = Queue::<38, 1>::new(); // one byte less
/// queue.push_bounded(Header::new(Kind::Log, 0, 0), &Postcard((1_u64, 2_u32)))?;
/// # Ok::<(), PushError>(())
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

impl<T: Serialize + MaxSize> Bounded for Postcard<T> {
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
