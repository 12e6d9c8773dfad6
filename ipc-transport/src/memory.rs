//! What works in memory: the loopback, the fault injector, and memory that processes share: pages of
//! words, bytes in them, and the ring.
//!
//! Nothing here may know frames or use a socket.

#[cfg(any(feature = "socket", test))]
pub(crate) mod copy;
pub(crate) mod faulty;
pub(crate) mod loopback;
#[cfg(feature = "socket")]
pub(crate) mod page;
#[cfg(any(feature = "ring", test))]
pub(crate) mod ring;
#[cfg(feature = "socket")]
#[cfg(not(all(loom, test)))]
pub(crate) mod shared_bytes;
#[cfg(any(feature = "socket", test))]
pub(crate) mod words;
