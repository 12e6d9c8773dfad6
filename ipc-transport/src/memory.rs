//! The loopback, the fault injector and shared memory: pages of words, bytes in them, and the ring.
//!
//! Modules in this folder do not depend on frames and use no sockets.

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
