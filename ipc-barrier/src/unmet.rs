//! Why a wait was not met.

use core::fmt;

use crate::reason::Reason;

/// Why a wait was not met. After the first two nothing can be met or placed any more, and only
/// [`wait_abortion`](crate::End::wait_abortion) still tells something; after the third everything
/// goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A side has aborted, or the descriptors turned out not to work; with the peer's reason, if
    /// it gave one.
    Aborted(Option<Reason>),
    /// The peer has exited, was killed, has called exec or has closed its end, and all tokens that
    /// it had placed were taken before.
    Gone,
    /// The deadline has come. Nothing is broken: tokens that were placed stay placed, and one may
    /// wait on.
    TimedOut,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(Some(reason)) => write!(f, "the other side failed: {reason}"),
            Self::Aborted(None) => f.write_str("aborted"),
            Self::Gone => f.write_str("the other side is gone"),
            Self::TimedOut => f.write_str("the deadline has come"),
        }
    }
}

impl core::error::Error for Unmet {}
