//! Frames in fixed buffers, with no operating system, no allocation and no unsafe code.
//!
//! A [`Queue`] holds outgoing frames, and a [`Decoder`] returns the frames that arrive:
//!
//! ```
//! use ipc_frame::{Decoder, Header, Queue};
//!
//! let mut queue = Queue::<256, 4>::new();
//! let number = queue.push(Header::request(7, 1), &[b"hello, ", b"world"])?;
//!
//! let mut decoder = Decoder::<256>::new();
//! queue.send_with(|pieces, _| {
//!     // Write to a socket here. In this example the bytes go straight to the decoder.
//!     let mut len = 0;
//!     for piece in pieces {
//!         decoder.space()[..piece.len()].copy_from_slice(piece);
//!         decoder.filled(piece.len());
//!         len += piece.len();
//!     }
//!     Ok::<_, ipc_frame::DecodeError>(Some(len)) // how many bytes were taken
//! })?;
//!
//! while let Some(frame) = decoder.next_frame()? {
//!     assert_eq!(frame.header().method(), 7);
//!     assert_eq!(frame.payload(), b"hello, world");
//! }
//! queue.retire(number);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! Queue::push ──▶ [header|payload][header|payload]… ──▶ any bytes ──▶ Decoder::space
//!      ▲                                                                   │
//!   retire                                                   Decoder::next_frame ──▶ Frame
//! ```
//!
//! A frame is a header of fixed size, followed by a payload. A [`Queue`] keeps each frame until it
//! is retired, so that it can be sent again. The caller reads into the buffer of the [`Decoder`],
//! and the frames borrow from that buffer. A payload is plain bytes, or a message of a type that
//! implements [`Encode`] and [`Decode`]. With the feature `postcard`, any serde type will do.
//!
//! This package's `WIRE.md` specifies the format.
//!
//! # Features
//!
//! | feature | default | adds | pulls in |
//! |---|---|---|---|
//! | `std` | yes | nothing yet; reserved for impls that need the standard library | `std` |
//! | `postcard` | no | `Postcard`: payloads of any serde type, in the postcard format | `postcard`, `serde` |
//!
//! The crate is always `no_std`. Without `std` it builds for bare metal.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
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
