//! Frames with their descriptors: the inbox, the outbox and the connection.
//!
//! Modules in this folder work over any transport and make no system calls, except that
//! `connection/until.rs` waits through the module `waiting`.

pub(crate) mod connection;
pub(crate) mod held;
pub(crate) mod inbox;
pub(crate) mod joiner;
pub(crate) mod outbox;
mod place;
