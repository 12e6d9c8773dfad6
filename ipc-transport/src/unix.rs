//! `AF_UNIX` sockets: the calls with `SCM_RIGHTS`, and how two programs connect.
//!
//! Modules in this folder do not depend on frames.

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
