//! What a log daemon does, with the standard library or without it: nothing here names it, or
//! allocates. The program that uses it brings the memory, the words' way out, and the messages between main
//! and worker.
//!
//! ```text
//! main    receive ─▶ intake ─▶ (request) ─▶ ledger ─▶ quiet ─▶ standard error
//! worker                       disk ─▶ policy
//!                              line ─▶ message, date
//!                              files ─▶ place, log, older, attributes, mark
//! ```

pub(crate) mod attributes;
pub(crate) mod date;
pub(crate) mod disk;
pub(crate) mod files;
pub(crate) mod intake;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod mark;
pub(crate) mod message;
pub(crate) mod older;
pub(crate) mod place;
pub(crate) mod policy;
pub(crate) mod quiet;
pub(crate) mod receive;
pub(crate) mod words;
