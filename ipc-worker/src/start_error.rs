//! Why a worker did not start.

use core::fmt;

use ipc_barrier::process::{Ended, ForkError, Reason, SpawnError};
use ipc_transport::SystemError;

use crate::identity::{Identity, Served};

/// Why a worker did not start. None of its processes or descriptors is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The system refused a socket or memory.
    System(SystemError),
    /// No child process was created.
    Fork(ForkError),
    /// The child's set-up or the handler's `prepare` failed, at this stage and with this errno.
    Failed(Reason),
    /// The child ended before it was ready.
    Died(Ended),
    /// The child was not ready in time and was killed.
    TimedOut,
    /// The worker has another version or other limits than main.
    Mismatch {
        /// What differs: "version", "slots" or "bytes".
        what: &'static str,
        /// Main's.
        ours: u32,
        /// The worker's.
        theirs: u32,
    },
    /// The worker serves something else than main expects, or is another build of it.
    OtherService {
        /// What main expects.
        ours: &'static Identity,
        /// What the worker serves.
        theirs: Served,
    },
    /// The child did not send the first frame of a worker.
    Malformed,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Fork(error) => error.fmt(f),
            Self::Failed(reason) => write!(f, "the worker's set-up failed: {reason}"),
            Self::Died(ended) => write!(f, "the worker ended before it was ready: {ended}"),
            Self::TimedOut => f.write_str("the worker was not ready in time (Start::ready_within)"),
            Self::Mismatch { what, ours, theirs } => {
                write!(f, "the worker does not match main: its {what} is {theirs}, not {ours}")
            }
            Self::OtherService { ours, theirs } => {
                write!(f, "the worker serves {theirs}, but main expects {ours}")
            }
            Self::Malformed => f.write_str("the worker's first frame is malformed"),
        }
    }
}

impl core::error::Error for StartError {}

impl From<SystemError> for StartError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::System(error) => Self::System(error),
            SpawnError::Fork(error) => Self::Fork(error),
            SpawnError::Failed(reason) => Self::Failed(reason),
            SpawnError::Died(ended) => Self::Died(ended),
            _ => Self::TimedOut,
        }
    }
}

impl From<ForkError> for StartError {
    fn from(error: ForkError) -> Self {
        Self::Fork(error)
    }
}
