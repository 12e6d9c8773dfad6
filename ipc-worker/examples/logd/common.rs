//! The log daemon, with or without the standard library: nothing here uses it, or allocates. A
//! program provides its sizes (`crate::program`), memory, the encoding of requests (`ask`), the
//! start of a worker, and perhaps an observer (`watch`).
//!
//! ```text
//! start   options ─▶ opening ─▶ daemon
//! main    signals; listener, receive, kernel ─▶ intake ─▶ ask ─▶ ledger ─▶ say: quiet, outlet
//! worker                       disk ─▶ policy
//!                              line ─▶ message, date
//!                              files ─▶ place, log, older, attributes, mark
//! ```

pub(crate) mod ask;
pub(crate) mod attributes;
pub(crate) mod daemon;
pub(crate) mod date;
pub(crate) mod disk;
pub(crate) mod files;
pub(crate) mod intake;
pub(crate) mod kernel;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod listener;
pub(crate) mod log;
pub(crate) mod mark;
pub(crate) mod message;
pub(crate) mod older;
pub(crate) mod opening;
pub(crate) mod options;
pub(crate) mod outlet;
pub(crate) mod packed;
pub(crate) mod place;
pub(crate) mod policy;
pub(crate) mod quiet;
pub(crate) mod ready;
pub(crate) mod receive;
pub(crate) mod say;
pub(crate) mod signals;
pub(crate) mod wall;
pub(crate) mod watch;
pub(crate) mod words;
