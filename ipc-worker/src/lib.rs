//! A worker process for anything that may block, so that the main process never does.
//!
//! ```text
//!  main                                                    worker
//!  try_call ─▶ table ─▶ outbox ─── frames and fds ───▶ inbox ─▶ Handler::handle
//!  next_event ◀─ inbox ◀────────── frames and fds ──── outbox ◀─ Handler::settle
//!                  └────── a shared word per request decides who has it ──────┘
//! ```
//!
//! Main makes calls and takes events; [`Worker::turn`] does all I/O, a bounded amount. Every
//! request that was taken has exactly one [`Outcome`], even if the worker is killed: what had not
//! begun is sent again to the next worker, and what was running is given back. A one-way request
//! ([`Worker::try_send`]) has no outcome; what comes to nothing is counted
//! ([`Worker::counters`]).
//!
//! ```
//! use core::time::Duration;
//! use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
//!
//! fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
//!     match request.method() {
//!         1 => reply.put(&request.bytes().len().to_le_bytes()),
//!         _ => Err(Refusal::UNKNOWN_METHOD),
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `Start::fork(handle)` runs it in a separate process; in line, the rest is the same.
//! let mut worker = Worker::<&str, _>::start(Start::inline(handle))?;
//! let deadline = Instant::now() + Duration::from_secs(5);
//! worker.call_until(Call::new(1, &[b"some ", b"bytes"]), "count", deadline, |event| {
//!     let Event::Done { tag: "count", outcome: Outcome::Reply(reply) } = event else {
//!         panic!("no reply: {event:?}");
//!     };
//!     assert_eq!(reply.bytes(), 10_usize.to_le_bytes());
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `postcard`, the macro `service!` declares methods once, with serde types for
//! arguments and results, and makes main's and the worker's side of it. `docs/GUIDE.md` says what
//! an event loop must do and what each outcome means for the data.

#![no_std]

#[cfg(any(feature = "std", test))]
extern crate std;

mod blocks;
mod call;
mod caller;
mod counters;
mod event;
mod first_frame;
mod handler;
mod identity;
mod ledger;
mod notes;
#[cfg(feature = "ring")]
mod over_ring;
mod pool;
mod process;
#[cfg(feature = "log")]
mod records;
mod refusal;
mod server;
#[cfg(feature = "postcard")]
#[doc(hidden)]
pub mod service;
mod start;
mod start_error;
#[cfg(test)]
#[cfg(not(loom))]
mod traffic;
mod worker;

pub use blocks::{Blocks, Lend, NoBlocks};
pub use call::{Body, Call, NotTaken, Why};
pub use counters::Counters;
pub use event::{BadReply, Event, GiveUp, Lost, Note, Outcome, ReplyView};
pub use handler::{Handler, Holding, Reply, Request};
pub use identity::{Identity, Served};
#[doc(no_inline)]
pub use ipc_barrier::process::{Ended, Reason};
#[cfg(feature = "postcard")]
#[doc(no_inline)]
pub use ipc_frame::Postcard;
#[doc(no_inline)]
pub use ipc_frame::{Decode, Encode, EncodeError, MessageError};
#[doc(no_inline)]
pub use ipc_transport::{Errno, Instant, Patience, SharedBytes, SystemError};
pub use ledger::{Again, Block, How, RequestId, Restart, TimeLimit};
pub use notes::{last_words, note};
#[cfg(all(feature = "std", feature = "ring"))]
pub use over_ring::serve_over_ring;
#[cfg(feature = "ring")]
pub use over_ring::{OverRing, serve_over_ring_as};
pub use pool::{Pool, PoolRequest};
pub use process::{Exec, Fork, Inline, Launch, Medium, OverSocket, serve_as};
#[cfg(feature = "std")]
pub use process::{is_worker, serve};
#[cfg(feature = "log")]
pub use records::{NoteLog, log_notes};
pub use refusal::Refusal;
#[doc(no_inline)]
pub use rustix::fd;
#[cfg(feature = "postcard")]
pub use service::Args;
pub use start::Start;
pub use start_error::StartError;
pub use worker::Worker;
