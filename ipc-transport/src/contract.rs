//! The contract: what a transport promises, with and without descriptors, and its errors.
//!
//! Nothing here may know a socket or make a system call.

pub(crate) mod errno;
pub(crate) mod fds;
pub(crate) mod pass_fds;
pub(crate) mod transport;
