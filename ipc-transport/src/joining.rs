//! Frames meet their descriptors: arriving ones in an inbox, outgoing ones in an outbox.
//!
//! Nothing here may make a system call or know which transport it works over.

pub(crate) mod held;
pub(crate) mod inbox;
pub(crate) mod joiner;
pub(crate) mod outbox;
mod place;
