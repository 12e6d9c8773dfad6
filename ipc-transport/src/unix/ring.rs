//! The ring as a transport: bytes in shared memory, and a companion socket.
//!
//! The socket does what memory cannot: it carries descriptors, shows the end of the peer, and
//! carries a bell for a side that polls the descriptor. A side that waits in a call first sleeps on
//! a word of the memory, which costs less, and then on the socket, which shows the end of the peer.
//!
//! Each chunk with descriptors has one message in the socket, sent before the chunk is published.
//! Both come in order, so the next such message belongs to the next such chunk. It holds the lowest
//! bits of the chunk's number: a message of another chunk, or none, breaks the ring. Between honest
//! sides none is lost, although the receiver takes bells without looking:
//!
//! - It lets the socket show input only when it has read every chunk, and so fetched every message
//!   but that of a chunk about to be published. The sender rings once that chunk is published.
//! - Until the bell is sent, the sender sends no descriptors. So when the receiver has fetched those
//!   of that chunk, the next message is a bell, or none.
//! - If the socket is too full for that bell, it is full of older bells. They too come before later
//!   descriptors. A receiver that fetches descriptors from behind bells takes no bell after that.
//!
//! A sender that finds the socket full sleeps on its tail and then tries once more. The receiver
//! publishes the tail after all that it takes from the socket. So if the second attempt fails, the
//! receiver has still to take something, and wakes the sender when it publishes the tail.

pub(crate) mod end;
pub(crate) mod link;
pub(crate) mod sender;
pub(crate) mod side;
