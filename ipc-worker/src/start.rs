//! How a worker is started, and why it may not be.

use core::fmt;
use core::time::Duration;

use heapless::Vec;
use ipc_barrier::{Ended, Fork, ForkError, Reason};
use ipc_transport::{Patience, SystemError};
use rustix::fd::RawFd;

use crate::supervise::Restart;

/// Most descriptors that [`Start::keep`] lists.
const KEPT: usize = 32;

/// How long a worker may take to be ready, unless [`Start::ready_within`] says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How to come to a child; `None` runs the handler in main itself.
pub(crate) type ForkFn = fn() -> Result<Fork, ForkError>;

/// How a worker is started: the handler, and what its process keeps.
#[derive(Debug)]
pub struct Start<H> {
    pub(crate) handler: H,
    pub(crate) fork: Option<ForkFn>,
    pub(crate) keep: Vec<RawFd, KEPT>,
    pub(crate) too_many_kept: Option<usize>,
    pub(crate) restart: Restart,
    pub(crate) ready_within: Duration,
    pub(crate) patience: Patience,
}

impl<H> Start<H> {
    /// Runs the handler in a forked process (fork(2)).
    ///
    /// Each new worker begins with the handler as it stood here. In the child every descriptor
    /// is closed but 0, 1, 2 and those of [`keep`](Self::keep). SIGINT, SIGTERM, SIGHUP and SIGPIPE
    /// are ignored: it ends when main closes. Other signals that main handles have their default
    /// action.
    #[cfg(feature = "libc")]
    pub fn fork(handler: H) -> Self {
        Self::new(handler, Some(ipc_barrier::fork))
    }

    /// Runs the handler in main itself, during [`turn`](crate::Worker::turn): the same calls and
    /// outcomes with one process. A handler that blocks blocks main, and its panic is main's: in
    /// a program that catches it, what had run since the last settling is lost.
    pub fn inline(handler: H) -> Self {
        Self::new(handler, None)
    }

    /// Runs the handler in a process forked by the raw system call, for programs without a C
    /// library. See [`fork`](Self::fork).
    ///
    /// # Safety
    /// The program has no C library and one thread, now and whenever a worker is restarted.
    #[expect(unsafe_code, reason = "the raw fork's promise is passed on to the caller")]
    pub unsafe fn fork_raw(handler: H) -> Self {
        fn raw() -> Result<Fork, ForkError> {
            // SAFETY: the caller of `Start::fork_raw` has promised what this needs.
            unsafe { ipc_barrier::fork_raw() }
        }
        Self::new(handler, Some(raw))
    }

    fn new(handler: H, fork: Option<ForkFn>) -> Self {
        Self {
            handler,
            fork,
            keep: Vec::new(),
            too_many_kept: None,
            restart: Restart::STANDARD,
            ready_within: READY_WITHIN,
            patience: Patience::SLEEP,
        }
    }

    /// Leaves these descriptors open in the child, such as those that the handler holds; at
    /// most 32.
    pub fn keep(mut self, fds: &[RawFd]) -> Self {
        let count = self.keep.len() + fds.len();
        if self.keep.extend_from_slice(fds).is_err() {
            self.too_many_kept = Some(count);
        }
        self
    }

    /// Sets how workers follow one another; [`Restart::STANDARD`] unless said otherwise.
    pub const fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Lets both sides look for a while before they sleep: the worker for requests, main in
    /// [`call_until`](crate::Worker::call_until) for its reply. It pays where both run at once, so
    /// give it as [`Patience::where_parallel`] does; [`Patience::SLEEP`] unless said otherwise.
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sets how long a worker may take to be ready; 10 seconds unless said otherwise.
    pub const fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }
}

/// Why a worker did not start. No process and no descriptor of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The system refuses a socket, a barrier or memory.
    System(SystemError),
    /// There is no child.
    Fork(ForkError),
    /// The child's set-up or the handler's `prepare` failed: where, and why.
    Failed(Reason),
    /// The child ended before it was ready.
    Died(Ended),
    /// The child was not ready in time and was killed.
    TimedOut,
    /// [`Start::keep`] was given more than it can list.
    TooManyKept {
        /// Descriptors given.
        count: usize,
        /// The most that can be listed.
        capacity: usize,
    },
}

impl StartError {
    pub(crate) const fn too_many_kept(count: usize) -> Self {
        Self::TooManyKept { count, capacity: KEPT }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::Fork(error) => error.fmt(f),
            Self::Failed(reason) => write!(f, "the worker's set-up failed: {reason}"),
            Self::Died(ended) => write!(f, "the worker ended before it was ready: {ended}"),
            Self::TimedOut => f.write_str("the worker was not ready in time"),
            Self::TooManyKept { count, capacity } => {
                write!(f, "{count} descriptors to keep, over the limit of {capacity}")
            }
        }
    }
}

impl core::error::Error for StartError {}

impl From<SystemError> for StartError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<ForkError> for StartError {
    fn from(error: ForkError) -> Self {
        Self::Fork(error)
    }
}
