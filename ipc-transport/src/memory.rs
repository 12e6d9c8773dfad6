//! What works in memory: the loopback, the fault injector, pages that processes share, and the ring in
//! them.
//!
//! Nothing here may know frames or use a socket.

pub(crate) mod faulty;
pub(crate) mod loopback;
#[cfg(feature = "socket")]
pub(crate) mod page;
#[cfg(any(feature = "ring", test))]
pub(crate) mod ring;
