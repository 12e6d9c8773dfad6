//! What placing and waiting answer.

use core::fmt;

use ipc_transport::SystemError;

use crate::process::Reason;

/// How the peer has ended its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAbort {
    /// It has aborted, or the descriptors turned out not to work; with its reason, if it gave one.
    Aborted(Option<Reason>),
    /// It has exited, was killed, has called exec or has closed its end.
    Gone,
}

impl From<PeerAbort> for Unmet {
    fn from(peer: PeerAbort) -> Self {
        match peer {
            PeerAbort::Aborted(reason) => Self::Aborted(reason),
            PeerAbort::Gone => Self::Gone,
        }
    }
}

impl fmt::Display for PeerAbort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Unmet::from(*self).fmt(f)
    }
}

/// Why a wait was not met. After the first two nothing can be met or placed any more, and only
/// [`wait_abort`](crate::End::wait_abort) still tells something; after the others everything goes
/// on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmet {
    /// A side has aborted, or the descriptors turned out not to work; with the peer's reason, if
    /// it gave one.
    Aborted(Option<Reason>),
    /// The peer has exited, was killed, has called exec or has closed its end, and all tokens that
    /// it had placed were taken before.
    Gone,
    /// The deadline has passed. Nothing is broken: tokens that were placed stay placed, and the
    /// wait may be repeated.
    TimedOut,
    /// The system cannot wait: `ENOMEM`, or `EINVAL` where a sandbox has set the limit of open
    /// descriptors lower than those to be polled (poll(2)). The peer is not concerned, and the wait
    /// may be repeated. A wait without a deadline and without a pidfd does not poll.
    System(SystemError),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(Some(reason)) => write!(f, "the peer failed: {reason}"),
            Self::Aborted(None) => f.write_str("aborted"),
            Self::Gone => f.write_str("the peer is gone"),
            Self::TimedOut => f.write_str("the deadline has passed"),
            Self::System(error) => write!(f, "cannot wait for the peer: {error}"),
        }
    }
}

impl core::error::Error for Unmet {}

/// Why a call that places, waits or does both has failed: which of the two, and how. See [`Unmet`]
/// for what is possible afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeetError {
    /// The token was not placed, since as many are unread as fit; nothing was waited for. There is
    /// room when the peer has taken some.
    Full,
    /// The token was not placed, since an abort or the peer's end is already known here.
    Ended(Unmet),
    /// The wait was not met; the token, if the call placed one, stays placed.
    Unmet(Unmet),
}

impl fmt::Display for MeetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("cannot place: too many tokens are unread"),
            Self::Ended(unmet) => write!(f, "cannot place: {unmet}"),
            Self::Unmet(unmet) => unmet.fmt(f),
        }
    }
}

impl core::error::Error for MeetError {}
