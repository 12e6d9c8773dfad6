//! Why a program does not run.

use core::fmt;

use ipc_transport::SystemError;

use super::child::Ended;
use super::fork::ForkError;
use super::reason::Reason;

/// Why a program was not started. Nothing runs, and neither a zombie nor a descriptor is left; the
/// start may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// This process lacks a descriptor (`EMFILE`), or a sandbox refuses what is needed before the
    /// fork. Close some, or raise `RLIMIT_NOFILE`.
    System(SystemError),
    /// There are too many processes, or too little memory. That passes.
    Fork(ForkError),
    /// A step of the set-up or the exec failed; the reason says which, and why.
    Failed(Reason),
    /// The child did not come to its exec by the deadline. It was killed; if it sleeps in the
    /// kernel, it ends when that lets it, and stays a zombie then.
    TimedOut,
    /// The child ended in its set-up without a word: killed by a filter (`SIGSYS`), a limit, or
    /// somebody else.
    Died(Ended),
}

impl From<SystemError> for SpawnError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<ForkError> for SpawnError {
    fn from(error: ForkError) -> Self {
        Self::Fork(error)
    }
}

impl From<Reason> for SpawnError {
    fn from(reason: Reason) -> Self {
        Self::Failed(reason)
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "cannot start a program: {error}"),
            Self::Fork(error) => write!(f, "cannot start a program: {error}; try again later"),
            Self::Failed(reason) => write!(f, "the program was not started: {reason}"),
            Self::TimedOut => f.write_str(
                "the program was not started by the deadline; allow more time, or look at its file \
                 system",
            ),
            Self::Died(ended) => write!(
                f,
                "the child {ended} before it became the program; look at its filter and its limits"
            ),
        }
    }
}

impl core::error::Error for SpawnError {}
