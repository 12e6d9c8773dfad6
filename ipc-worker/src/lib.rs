//! A worker process for anything that may block, so that the main process never does. For Linux.
//!
//! Main forks a worker, makes a call, and waits for the outcome:
//!
//! ```
//! use core::time::Duration;
//! use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
//!
//! const COUNT: u16 = 1;
//!
//! /// Runs in the worker process, one request at a time, and may block.
//! fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
//!     match request.method() {
//!         COUNT => reply.put(&request.bytes().len().to_le_bytes()),
//!         _ => Err(Refusal::UNKNOWN_METHOD),
//!     }
//! }
//!
//! let mut worker = Worker::<&str, _>::start(Start::fork(handle))?;
//! let deadline = Instant::now() + Duration::from_secs(5);
//! let call = Call::new(COUNT, &[b"some ", b"bytes"]);
//! worker.call_until(call, "my tag", deadline, |event| {
//!     let Event::Done { tag: "my tag", outcome: Outcome::Reply(reply) } = event else {
//!         panic!("no reply: {event:?}");
//!     };
//!     assert_eq!(reply.bytes(), 10_usize.to_le_bytes());
//! })?;
//! worker.stop(deadline, |event| println!("{event:?}"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  main                                                    worker
//!  try_call ─▶ table ─▶ outbox ─── frames and fds ───▶ inbox ─▶ Handler::handle
//!  next_event ◀─ inbox ◀────────── frames and fds ──── outbox ◀─ Handler::settle
//!                  └────── a shared word per request decides who has it ──────┘
//! ```
//!
//! The guide has a page for each task: `docs/guide` of the repository.
//!
//! In an event loop, main does not wait: it makes calls with [`Worker::try_call`] and takes events
//! with [`Worker::next_event`]. [`Worker::turn`] does all I/O, a bounded amount per call.
//!
//! Every accepted request has exactly one [`Outcome`], even if the worker is killed. By default a
//! request that had not begun is sent to the next worker, and one that was running, or done but
//! not yet answered, is given back. A one-way request ([`Worker::try_send`]) has no outcome. If it
//! fails, it is counted ([`Worker::counters`]).
//!
//! [`Start`] chooses how the worker runs: forked, as another program, or inline in main. A
//! [`Pool`] has several workers.
//!
//! # Features
//!
//! | feature | default | adds | pulls in |
//! |---|---|---|---|
//! | `std` | yes | `libc`; refusals from `std::io::Error`; `is_worker` and `serve` | `std` |
//! | `libc` | by `std` | the safe `Start::fork`; `posix_spawn` in `Start::exec` | `libc` |
//! | `ring` | no | `Start::over_ring`: requests and replies through shared memory | nothing |
//! | `postcard` | no | `service!`: typed methods with serde types | `postcard`, `serde` |
//! | `log` | no | `NoteLog`: a logger whose records go to main as notes | `log` |
//!
//! Without `libc` only the unsafe [`Start::fork_raw`] remains for forks. The crate is always
//! `no_std`.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

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

#[doc(hidden)]
pub use blocks::View;
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
