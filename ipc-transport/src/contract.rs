//! The contract: what a transport promises, with and without descriptors, and its errors.
//!
//! Modules in this folder do not depend on sockets and make no system calls.

mod errno;
mod fds;
mod pass_fds;
mod pieces;
mod transport;

pub use errno::{Errno, SystemError};
pub(crate) use fds::MAX_FDS;
pub use fds::{FdList, Fds};
pub(crate) use pass_fds::Carry;
pub use pass_fds::{PassFds, Received};
pub(crate) use pieces::{PIECES, cut};
pub(crate) use transport::Moved;
pub use transport::{Transport, TransportError};
