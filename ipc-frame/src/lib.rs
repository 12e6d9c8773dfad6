//! Frames in fixed buffers, with no operating system, no allocation and no unsafe code.
//!
//! ```text
//! Queue::push ──▶ [header|payload][header|payload]… ──▶ any bytes ──▶ Decoder::space
//!      ▲                                                                   │
//!   retire                                                   Decoder::next_frame ──▶ Frame
//! ```
//!
//! A frame is a header of fixed size and a payload. A [`Queue`] keeps outgoing frames until they
//! are retired, so that they can be sent again. A [`Decoder`] is read into in place and returns
//! frames that borrow from it. A payload is any bytes, or a message of a type that implements
//! [`Encode`] and [`Decode`]; with the feature `postcard`, any serde type. `WIRE.md` in this package
//! specifies the format.
//!
//! ```
//! use ipc_frame::{Decoder, Header, Queue};
//!
//! let mut queue = Queue::<256, 4>::new();
//! queue.push(Header::request(7, 1), &[b"hello, ", b"world"])?;
//!
//! let mut decoder = Decoder::<256>::new();
//! queue.send_with(|pieces, _| {
//!     let mut len = 0;
//!     for piece in pieces {
//!         decoder.space()[..piece.len()].copy_from_slice(piece);
//!         decoder.filled(piece.len());
//!         len += piece.len();
//!     }
//!     Ok::<_, ipc_frame::DecodeError>(Some(len))
//! })?;
//!
//! let frame = decoder.next_frame()?.ok_or("not yet whole")?;
//! assert_eq!(frame.header().method(), 7);
//! assert_eq!(frame.payload(), b"hello, world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(feature = "std", test))]
extern crate std;

mod decode;
mod header;
mod kind;
mod message;
#[cfg(feature = "postcard")]
mod postcard;
mod queue;
mod text;
#[cfg(test)]
mod vectors;

pub use decode::{Decoder, Frame};
pub use header::{DecodeError, Header, MAX_FDS};
pub use kind::Kind;
#[doc(hidden)]
pub use message::MaxLen;
pub use message::{Decode, Encode, EncodeError, MessageError};
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
pub use queue::{FrameNumber, PushError, Queue, Reservation};
pub use text::Text;
