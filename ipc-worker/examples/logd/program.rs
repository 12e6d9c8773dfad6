//! What differs between programs that are this daemon: their names and sizes.

/// What it says before each of its words on standard error.
pub(crate) const PROGRAM: &str = "logd";

/// Bytes of the longest message; longer ones are cut.
pub(crate) const MESSAGE: usize = 16 << 10;
/// Bytes of messages that may wait in main, unless it is told otherwise.
pub(crate) const INTAKE: usize = 1 << 20;
/// Messages under way, and bytes for them.
pub(crate) const SLOTS: usize = 256;
pub(crate) const BYTES: usize = 64 << 10;
/// Bytes by which a message is named, and which are kept for each that is under way.
pub(crate) const NAME: usize = 160;
