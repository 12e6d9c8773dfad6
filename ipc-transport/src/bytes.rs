//! Transports that carry bytes and no descriptors.
//!
//! Nothing here may know frames.

pub(crate) mod byte_pair;
