//! Transports for frames and file descriptors, with deadlines and one place for waiting.
//!
//! ```text
//! Outbox (frames + their fds) ──▶ Transport / PassFds ──▶ Inbox (frames + their fds)
//!                                 Stream, Seqpacket, BytePair, Loopback, Faulty<…>
//! ```
//!
//! A [`Transport`] moves bytes and knows nothing of frames; one that can also carry file
//! descriptors is [`PassFds`]. Two programs meet by a [`Listener`] and [`connect`], or over a
//! socket that one was started with ([`inherit`]). Without the feature `socket` only the contract,
//! the in-memory [`Loopback`], the faults of [`Faulty`] and [`Instant`] remain, and the crate
//! builds for bare metal.
//!
//! ```
//! # #[cfg(feature = "socket")] {
//! use ipc_frame::{Header, Kind};
//! use ipc_transport::{Inbox, Outbox, Stream};
//!
//! let (mut left, mut right) = Stream::pair()?;
//! let mut outbox = Outbox::<1024, 8>::new();
//! let mut inbox = Inbox::<1024>::new();
//!
//! outbox.push(Header::new(Kind::Request, 1, 1), &[b"ping"])?;
//! outbox.flush(&mut left)?;
//! inbox.receive(&mut right)?;
//! let header = inbox.advance()?.ok_or("not yet whole")?;
//! assert_eq!(inbox.current().payload, b"ping");
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]

#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "socket")]
mod blocking;
#[cfg(feature = "socket")]
mod byte_pair;
mod clock;
#[cfg(feature = "socket")]
mod descriptor;
mod errno;
mod faulty;
#[cfg(feature = "socket")]
mod inbox;
#[cfg(feature = "socket")]
mod inherit;
#[cfg(feature = "socket")]
mod listen;
mod loopback;
#[cfg(feature = "socket")]
mod outbox;
#[cfg(feature = "socket")]
mod page;
#[cfg(feature = "socket")]
mod pass_fds;
#[cfg(feature = "socket")]
mod patience;
#[cfg(feature = "socket")]
mod peer;
#[cfg(not(feature = "socket"))]
#[path = "no_riders.rs"]
mod riders;
#[cfg(feature = "socket")]
mod riders;
#[cfg(feature = "socket")]
mod seqpacket;
#[cfg(feature = "socket")]
mod socket;
#[cfg(feature = "socket")]
mod stream;
mod transport;
#[cfg(feature = "socket")]
mod wait;

#[cfg(feature = "socket")]
pub use blocking::Blocking;
#[cfg(feature = "socket")]
pub use byte_pair::BytePair;
pub use clock::Instant;
#[cfg(feature = "socket")]
pub use descriptor::{above_stdio, close_all_but, duplicate, open_stdio};
pub use errno::{Errno, SystemError};
pub use faulty::{Faults, Faulty};
#[cfg(feature = "socket")]
pub use inbox::{Arrival, FdsLost, Inbox, InboxError};
#[cfg(feature = "socket")]
pub use inherit::{InheritError, inherit};
#[cfg(feature = "socket")]
pub use listen::{BindError, Listener, connect};
pub use loopback::{Loopback, LoopbackEnd};
#[cfg(feature = "socket")]
pub use outbox::{Flushed, Outbox, Room};
#[cfg(feature = "socket")]
pub use page::SharedPage;
#[cfg(feature = "socket")]
pub use pass_fds::{PassFds, Received};
#[cfg(feature = "socket")]
pub use patience::Patience;
#[cfg(feature = "socket")]
pub use peer::Peer;
#[cfg(feature = "socket")]
pub use seqpacket::Seqpacket;
#[cfg(feature = "socket")]
pub use socket::Socket;
#[cfg(feature = "socket")]
pub use stream::Stream;
pub use transport::{Transport, TransportError};
#[cfg(feature = "socket")]
pub use wait::{Interest, MAX_WATCHED, Waiter, Watched, wait};
