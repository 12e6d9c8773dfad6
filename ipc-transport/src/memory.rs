//! What works in memory: the loopback, the fault injector, and pages that processes share.
//!
//! Nothing here may know frames or use a socket.

pub(crate) mod faulty;
pub(crate) mod loopback;
#[cfg(feature = "socket")]
pub(crate) mod page;
