//! Why a fork was refused.

use core::fmt;

use ipc_transport::SystemError;

/// Why there is no child. Nothing has changed, and the fork may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has more than one thread. Fork before starting the others.
    Threads {
        /// How many there are.
        count: usize,
    },
    /// The number of threads is unknown: `unshare` is refused and `/proc` cannot be read. Mount
    /// `/proc`, or allow `unshare`.
    ThreadsUnknown,
    /// The system refuses: too many processes (`EAGAIN`) or too little memory (`ENOMEM`).
    System(SystemError),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { count } => {
                write!(f, "cannot fork with {count} threads; fork before starting others")
            }
            Self::ThreadsUnknown => f.write_str(
                "cannot fork: the number of threads is unknown, since unshare is refused and \
                 /proc/self/task cannot be read",
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ForkError {}
