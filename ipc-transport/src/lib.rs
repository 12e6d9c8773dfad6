//! Transports for frames and file descriptors, with deadlines and one place for waiting.
//!
//! ```text
//! Outbox (frames + their fds) ──▶ Transport / PassFds ──▶ Inbox (frames + their fds)
//!                                 Stream, Seqpacket, BytePair, Loopback, Faulty<…>
//! ```
//!
//! A [`Transport`] moves bytes and knows nothing of frames; one that can also carry file
//! descriptors is [`PassFds`]. Two programs meet by a `Listener` and `connect`, or over a
//! socket that one was started with (`inherit`); a [`Connection`] agrees on version and limits, and
//! carries typed messages. The feature `laws` tests a transport of your own. Without the feature `socket` there are no sockets,
//! descriptors or clock: the contract, the inbox and outbox, the in-memory [`Loopback`] and the
//! faults of [`Faulty`] remain, and the crate builds for bare metal.
//!
//! ```
//! # #[cfg(feature = "socket")] {
//! use ipc_frame::Header;
//! use ipc_transport::{Arrived, Inbox, Outbox, Stream};
//!
//! let (mut left, mut right) = Stream::pair()?;
//! let mut outbox = Outbox::<1024, 8>::new();
//! let mut inbox = Inbox::<1024>::new();
//!
//! outbox.push(Header::request(1, 1), &[b"ping"])?;
//! outbox.flush(&mut left)?;
//! assert_eq!(inbox.receive(&mut right)?, Arrived::Bytes(Header::SIZE + 4));
//! let header = inbox.advance()?.ok_or("not yet whole")?;
//! assert_eq!(inbox.current().payload, b"ping");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]

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
mod unix;

/// Descriptors, as rustix names them: `OwnedFd`, `BorrowedFd`, `AsFd` and their like.
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

/// For the crates of this family only.
#[cfg(feature = "ring")]
#[doc(hidden)]
pub use unix::ring::{end::RingEnd, link::RingLink, sender::RingSender, side::Side};
/// For the crates of this family only.
#[cfg(feature = "socket")]
#[doc(hidden)]
pub use {
    descriptor::{above_stdio, duplicate, open_stdio},
    memory::page::SharedPage,
    unix::blocking::send_to,
    waiting::again_on_intr,
};
