//! Frames meet their descriptors: arriving ones in an inbox, outgoing ones in an outbox.
//!
//! Nothing here may know which transport it works over or make a system call; only
//! `connection/until.rs` waits, by what `waiting` offers.

pub(crate) mod connection;
pub(crate) mod held;
pub(crate) mod inbox;
pub(crate) mod joiner;
pub(crate) mod outbox;
mod place;
