//! The errors of placing and waiting.

use core::fmt;

use ipc_transport::SystemError;

use crate::process::Reason;

/// How the peer left the barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAbort {
    /// It aborted, with its reason if it gave one. Also returned if a descriptor does not work.
    Aborted(Option<Reason>),
    /// It exited, was killed, called exec, or closed its end.
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

/// Why a wait was not met. `Aborted` and `Gone` are final: every later wait and place fails, and
/// only [`wait_abort`](crate::End::wait_abort) is still useful. After the others, the barrier still
/// works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmet {
    /// One of the sides aborted, or a descriptor does not work. Contains the peer's reason, if it
    /// gave one.
    Aborted(Option<Reason>),
    /// The peer exited, was killed, called exec, or closed its end. All its tokens were taken
    /// before.
    Gone,
    /// The deadline has passed. Nothing is broken: placed tokens stay placed, and the wait may be
    /// repeated.
    TimedOut,
    /// poll(2) failed: `ENOMEM`, or `EINVAL` if a sandbox has set `RLIMIT_NOFILE` lower than the
    /// number of descriptors to poll. The peer is not affected, and the wait may be repeated. On
    /// the lane `Page`, a wait without a deadline and without a pidfd does not poll.
    System(SystemError),
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(Some(reason)) => write!(f, "the peer failed: {reason}"),
            Self::Aborted(None) => f.write_str("this side or the peer has aborted"),
            Self::Gone => f.write_str("the peer is gone"),
            Self::TimedOut => f.write_str("the deadline has passed"),
            Self::System(error) => write!(f, "cannot wait for the peer: {error}"),
        }
    }
}

impl core::error::Error for Unmet {}

/// Why a call that places, waits, or does both has failed. [`Unmet`] says what is possible
/// afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MeetError {
    /// The token was not placed, because too many are unread. The call did not wait. There is room
    /// again when the peer has taken some.
    Full,
    /// The token was not placed, because a side has aborted or the peer is known to be gone.
    Ended(Unmet),
    /// The wait was not met. If the call placed a token, the token stays placed.
    Unmet(Unmet),
}

impl fmt::Display for MeetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("cannot place a token: too many are unread"),
            Self::Ended(unmet) => write!(f, "cannot place a token: {unmet}"),
            Self::Unmet(unmet) => unmet.fmt(f),
        }
    }
}

impl core::error::Error for MeetError {}
