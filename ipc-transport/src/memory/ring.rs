//! A ring of bytes in shared words, for one direction: what the two sides do to it, without a call.
//!
//! ```text
//! words  0        32       64
//!        │ head … │ tail … │ data: chunks, each of a length, a mark, and bytes
//! ```
//!
//! A chunk is what one sending call took. It begins at a multiple of eight bytes, with a word: its
//! length, and whether descriptors came with it. What the peer writes is input: cursors and lengths
//! are checked each time that they are read, and bytes are copied out before anybody looks at them.

mod bytes;
pub(crate) mod consumer;
pub(crate) mod cursor;
#[cfg(test)]
#[cfg(loom)]
mod models;
pub(crate) mod producer;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
pub(crate) mod track;
