//! Why a wait was not met.

use core::fmt;

use crate::reason::Reason;

/// Why a wait was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A side has aborted; with the peer's reason, if it gave one.
    Aborted(Option<Reason>),
    /// The peer has exited, was killed or has closed its end.
    Gone,
    /// The deadline has come. Nothing is broken: one may wait on.
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
