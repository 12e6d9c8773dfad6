//! The name of this daemon, and its small sizes.

/// The prefix of its messages on standard error.
pub(crate) const PROGRAM: &str = "tinylogd";

/// The longest message in bytes; longer ones are truncated. Twice what RFC 5424 recommends to
/// accept.
pub(crate) const MESSAGE: usize = 4 << 10;
/// Default bytes for messages that wait in main.
pub(crate) const INTAKE: usize = 32 << 10;
/// Messages in flight, and the bytes for them.
pub(crate) const SLOTS: usize = 32;
pub(crate) const BYTES: usize = 8 << 10;
/// Bytes that identify a message, kept for each one in flight.
pub(crate) const NAME: usize = 64;
