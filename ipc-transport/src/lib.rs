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
//! use ipc_frame::Header;
//! use ipc_transport::{Inbox, Outbox, Stream};
//!
//! let (mut left, mut right) = Stream::pair()?;
//! let mut outbox = Outbox::<1024, 8>::new();
//! let mut inbox = Inbox::<1024>::new();
//!
//! outbox.push(Header::request(1, 1), &[b"ping"])?;
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
mod bytes;
mod contract;
#[cfg(feature = "socket")]
mod descriptor;
#[cfg(feature = "socket")]
mod joining;
mod memory;
#[cfg(feature = "socket")]
mod unix;
#[cfg(feature = "socket")]
mod wait_set;
mod waiting;

pub use contract::errno::{Errno, SystemError};
pub use contract::transport::{Transport, TransportError};
pub use memory::faulty::{Faults, Faulty};
pub use memory::loopback::{Loopback, LoopbackEnd};
pub use waiting::clock::Instant;

#[cfg(feature = "socket")]
pub use wait_set::{Ready, Trigger, WaitSet};
#[cfg(feature = "socket")]
pub use {
    bytes::byte_pair::BytePair,
    contract::pass_fds::{PassFds, Received},
    descriptor::{above_stdio, close_all_but, duplicate, open_stdio},
    joining::inbox::{Arrival, FdsLost, Inbox, InboxError},
    joining::outbox::{Flushed, Outbox, Room},
    memory::page::SharedPage,
    unix::blocking::Blocking,
    unix::inherit::{InheritError, inherit},
    unix::listen::{BindError, Listener, connect},
    unix::peer::Peer,
    unix::seqpacket::Seqpacket,
    unix::socket::Socket,
    unix::stream::Stream,
    waiting::patience::Patience,
    waiting::wait::{Interest, MAX_WATCHED, Waiter, Watched, wait},
};
