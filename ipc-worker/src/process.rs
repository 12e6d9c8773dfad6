//! Worker processes: starting one, its first frame, its life, and its end.
//!
//! This folder moves bytes and watches the process. It does not parse: frames belong to the caller
//! and the server.

mod child;
mod exchange;
mod exec;
mod fork;
mod inline;
mod launch;
mod leaving;
mod main;
mod mark;
mod medium;
mod serve;
mod shared;
mod starting;
mod state;
mod turn;

pub use exec::Exec;
pub use fork::Fork;
pub use inline::Inline;
pub use launch::Launch;
pub(crate) use main::Main;
pub use medium::{Medium, OverSocket};
#[cfg(all(feature = "std", feature = "ring"))]
pub(crate) use serve::argument;
pub use serve::serve_as;
#[cfg(feature = "ring")]
pub(crate) use serve::serve_over;
#[cfg(feature = "std")]
pub use serve::{is_worker, serve};
pub(crate) use state::{Life, Policy};
