//! The clock, deadlines, and the one place that waits.
//!
//! Nothing here may know a transport.

pub(crate) mod clock;
#[cfg(feature = "socket")]
pub(crate) mod patience;
#[cfg(feature = "socket")]
pub(crate) mod wait;
