//! The ring as a transport: bytes in shared memory, and a socket beside it.
//!
//! The socket carries what memory cannot: descriptors, the end of the peer, and a bell for a side
//! that waits at a descriptor. A side that waits in a call sleeps on a word of the memory for a
//! while, which costs less, and then at the socket, where the peer's end shows.

pub(crate) mod end;
pub(crate) mod link;
pub(crate) mod sender;
pub(crate) mod side;
