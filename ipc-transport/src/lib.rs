//! Transports that carry frames and file descriptors between processes, with deadlines. For Linux.
//!
//! Send a frame with a file, and receive both:
//!
//! ```
//! # #[cfg(all(feature = "std", feature = "socket"))] {
//! use ipc_frame::Header;
//! use ipc_transport::{FdList, Inbox, Outbox, Stream};
//!
//! let (mut left, mut right) = Stream::pair()?; // two programs use `Listener` and `connect`
//! let mut outbox = Outbox::<1024, 8>::new(); // buffers of 1 KiB; up to 8 queued frames
//! let mut inbox = Inbox::<1024>::new();
//!
//! let mut files = FdList::<1>::new();
//! files.fds().push(std::fs::File::open("Cargo.toml")?.into()).map_err(|_| "no room")?;
//! outbox.push_with(Header::request(7, 1), &[b"read this"], &mut files.fds())?;
//! outbox.flush_with(&mut left)?;
//!
//! inbox.receive_with(&mut right, 1)?; // with room for one descriptor
//! while let Some(header) = inbox.advance()? {
//!     let mut frame = inbox.current();
//!     assert_eq!((header.method(), frame.payload), (7, &b"read this"[..]));
//!     let file = std::fs::File::from(frame.fds.take_first().ok_or("no file")?);
//!     assert!(std::io::read_to_string(file)?.contains("[package]"));
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! Outbox (frames + their fds) ──▶ Transport / PassFds ──▶ Inbox (frames + their fds)
//!                                 Stream, Seqpacket, BytePair, Loopback, Faulty<…>
//! ```
//!
//! A [`Transport`] moves bytes and does not interpret them. A transport that implements [`PassFds`]
//! also carries file descriptors. Two programs connect through a `Listener` and `connect`, or over
//! a socket that one of them inherited (`inherit`). With a [`Connection`] they agree on a version
//! and limits, and exchange typed messages.
//!
//! Transports never wait, except through a `Blocking` view. The function `wait` and the calls that
//! end in `_until` wait until a deadline.
//!
//! # Features
//!
//! | feature | default | adds | pulls in |
//! |---|---|---|---|
//! | `std` | yes | `libc`; conversions with `std::io::Error`; std's descriptor types | `std` |
//! | `libc` | by `std` | `Instant::now` without a system call | `libc` |
//! | `socket` | yes | sockets, descriptors, shared memory and waiting | `rustix`, `syscalls` |
//! | `ring` | no | `socket`; `Ring`, a transport in shared memory | nothing more |
//! | `laws` | no | `std`, `socket`; `laws!`, which tests your own transport | nothing more |
//!
//! The crate is always `no_std`. Without `socket` it builds for bare metal: the contract, the
//! inbox, the outbox, the in-memory [`Loopback`] and the fault injector [`Faulty`] remain.

#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "std", test))]
extern crate std;

mod contract;
mod joining;
#[cfg(feature = "laws")]
pub mod laws;
mod memory;
mod waiting;

#[cfg(feature = "socket")]
mod bytes;
#[cfg(feature = "socket")]
mod descriptor;
#[cfg(feature = "socket")]
mod limits;
#[cfg(feature = "socket")]
mod unix;

/// Descriptor types: `OwnedFd`, `BorrowedFd`, `AsFd` and others. With `std` these are std's types.
#[cfg(feature = "socket")]
pub use rustix::fd;
#[cfg(not(feature = "socket"))]
pub mod fd;
#[cfg(not(feature = "socket"))]
use fd as descriptor;

pub use contract::{Errno, FdList, Fds, PassFds, Received, SystemError, Transport, TransportError};
pub use joining::connection::{Connection, ConnectionError, Hello, SendError};
pub use joining::inbox::{Arrival, Arrived, Inbox};
#[doc(hidden)]
pub use joining::joiner::Joiner;
pub use joining::joiner::{FdsLost, InboxError};
pub use joining::outbox::{Flushed, Outbox, Room};
pub use memory::faulty::{Faults, Faulty};
pub use memory::loopback::{Loopback, LoopbackEnd};
pub use waiting::Instant;

#[cfg(feature = "socket")]
pub use {
    bytes::byte_pair::BytePair,
    memory::shared_bytes::SharedBytes,
    unix::blocking::Blocking,
    unix::inherit::inherit,
    unix::listen::{Listener, SocketError, connect},
    unix::peer::Peer,
    unix::seqpacket::Seqpacket,
    unix::socket::{Socket, Unix},
    unix::stream::Stream,
    waiting::{Interest, Patience, Watched, wait},
};

#[cfg(feature = "ring")]
pub use unix::ring::end::Ring;

/// For the crates of this project only.
#[cfg(feature = "ring")]
#[doc(hidden)]
pub use unix::ring::{end::RingEnd, link::RingLink, sender::RingSender, side::Side};
/// For the crates of this project only.
#[cfg(feature = "socket")]
#[doc(hidden)]
pub use {
    descriptor::{above_stdio, duplicate, open_stdio},
    limits::limits_of,
    memory::page::SharedPage,
    unix::blocking::send_to,
    waiting::again_on_intr,
};
