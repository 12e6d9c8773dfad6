//! Sockets of the family `AF_UNIX`: their calls with `SCM_RIGHTS`, and how two programs meet.
//!
//! Nothing here may know frames.

pub(crate) mod blocking;
pub(crate) mod calls;
mod control;
pub(crate) mod inherit;
pub(crate) mod listen;
mod options;
pub(crate) mod peer;
#[cfg(feature = "ring")]
pub(crate) mod ring;
pub(crate) mod seqpacket;
pub(crate) mod socket;
pub(crate) mod stream;
