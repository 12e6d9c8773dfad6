//! The name and the sizes of this daemon: small ones.

/// What it says before each of its words on standard error.
pub(crate) const PROGRAM: &str = "tinylogd";

/// Bytes of the longest message; longer ones are cut. Twice what RFC 5424 says that all should take.
pub(crate) const MESSAGE: usize = 4 << 10;
/// Bytes of messages that may wait in main, unless it is told otherwise.
pub(crate) const INTAKE: usize = 32 << 10;
/// Messages under way, and bytes for them.
pub(crate) const SLOTS: usize = 32;
pub(crate) const BYTES: usize = 8 << 10;
/// Bytes by which a message is named, and which are kept for each that is under way.
pub(crate) const NAME: usize = 64;
