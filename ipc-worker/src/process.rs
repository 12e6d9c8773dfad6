//! Workers' processes: how one is made, its first frame, its life, and its leaving.
//!
//! This folder moves bytes and watches the process. It parses none of them: frames are for the
//! caller and the server.

mod child;
mod exchange;
mod exec;
mod fork;
mod inline;
mod launch;
mod leaving;
mod mark;
mod serve;
mod starting;
mod state;
mod turn;

pub use exec::Exec;
pub use fork::Fork;
pub use inline::Inline;
pub use launch::Launch;
pub use serve::serve_as;
#[cfg(feature = "std")]
pub use serve::{is_worker, serve};
pub(crate) use state::{Life, Main, Policy};
