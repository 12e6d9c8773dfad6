//! Transports that carry bytes and no descriptors.
//!
//! Modules in this folder do not depend on frames.

pub(crate) mod byte_pair;
