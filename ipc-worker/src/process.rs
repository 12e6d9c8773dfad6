//! Launches with a process: how it is made, its first frame, its life, and its leaving.
//!
//! This folder moves bytes and watches the process. It parses none of them: frames are for the
//! caller and the server.

mod child;
mod exchange;
mod fork;
mod leaving;
mod run;
mod spawn;
mod starting;
mod state;
mod watch;

pub use fork::Fork;
