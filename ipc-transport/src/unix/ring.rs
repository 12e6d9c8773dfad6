//! The ring as a transport: bytes in shared memory, and a companion socket.
//!
//! The socket does what memory cannot: it carries descriptors, shows the end of the peer, and
//! carries a bell for a side that polls the descriptor. A side that waits in a call first sleeps on
//! a word of the memory, which costs less, and then on the socket, which shows the end of the peer.

pub(crate) mod end;
pub(crate) mod link;
pub(crate) mod sender;
pub(crate) mod side;
