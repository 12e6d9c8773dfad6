//! A ring of bytes in shared words, for one direction. Makes no system calls.
//!
//! ```text
//! words  0        32       64
//!        │ head … │ tail … │ data: chunks, each of a length, a mark, and bytes
//! ```
//!
//! Each sending call writes one chunk. It begins at a multiple of eight bytes, with a word that
//! holds its length and whether it has descriptors. The peer's writes are untrusted input: cursors
//! and lengths are checked on each read, and bytes are copied out before they are parsed.

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
