//! What differs between programs that contain this daemon: names and sizes.

/// The prefix of each line on standard error.
pub(crate) const PROGRAM: &str = "logd";

/// Bytes of the longest message; longer ones are cut.
pub(crate) const MESSAGE: usize = 16 << 10;
/// The default capacity for messages that wait in main, in bytes.
pub(crate) const INTAKE: usize = 1 << 20;
/// Messages in flight, and the bytes for them.
pub(crate) const SLOTS: usize = 256;
pub(crate) const BYTES: usize = 64 << 10;
/// Bytes of a message's text that name it, kept for each message in flight.
pub(crate) const NAME: usize = 160;
