//! The clock, deadlines, and the only place that waits.
//!
//! Modules in this folder do not depend on transports.

mod clock;
#[cfg(feature = "socket")]
mod now;
#[cfg(feature = "socket")]
mod patience;
#[cfg(feature = "socket")]
mod wait;

pub use clock::Instant;
#[cfg(feature = "socket")]
pub use patience::Patience;
#[cfg(feature = "socket")]
pub use wait::{Interest, Watched, again_on_intr, wait};
#[cfg(feature = "socket")]
pub(crate) use wait::{is_hung_up, look};
