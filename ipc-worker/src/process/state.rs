//! Where a worker's life is: which process there is, and what becomes of it.

use core::time::Duration;

use heapless::Vec;
use ipc_barrier::process::{Child, Ended};
use ipc_transport::{Instant, SharedPage, Stream};
use rustix::fd::OwnedFd;

use crate::event::Pending;
use crate::launch::Policy;
use crate::ledger::{Supervisor, Words};
use crate::start_error::StartError;

/// How soon to try again what cannot be watched.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// Processes that were killed and given up but are not yet reaped, at most.
const UNREAPED: usize = 4;

/// Runs requests in processes that follow one another.
#[derive(Debug)]
pub struct Processes {
    pub(super) policy: Policy,
    pub(super) phase: Phase,
    /// Holds the descriptors of whatever process there is: one for the worker's whole life.
    pub(super) epoll: OwnedFd,
    pub(super) supervisor: Supervisor,
    pub(super) pending: Pending,
    pub(super) unreaped: Vec<Child, UNREAPED>,
    /// Requests that were sent to a worker that is gone and wait for the next.
    pub(super) resent: usize,
    /// No further worker is started.
    pub(super) is_closing: bool,
    /// How the last process has ended.
    pub(super) ended: Option<Ended>,
}

/// What belongs to one worker process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) stream: Stream,
    pub(super) page: SharedPage,
    /// The socket was full, and is watched for room.
    pub(super) watches_room: bool,
    /// The worker receives no more; what it has written may still come.
    pub(super) send_closed: bool,
    /// The worker does not keep the protocol.
    pub(super) broken: bool,
    /// Nothing is sent before this time.
    pub(super) send_after: Instant,
    /// When the process was last looked at.
    pub(super) looked: Instant,
}

/// A process that has ended or is to end.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) process: Process,
    /// When it is killed, or was.
    pub(super) kill_at: Instant,
    pub(super) killed: bool,
    pub(super) ended: Option<Ended>,
    /// Nothing further can arrive.
    pub(super) drained: bool,
    /// Bytes of its last words that are still to be taken, once it has ended.
    pub(super) left: Option<usize>,
    /// Why it never was ready, if it was not.
    pub(super) failed: Option<StartError>,
}

/// What there is of a worker.
#[derive(Debug)]
pub(super) enum Phase {
    Starting { process: Process, deadline: Instant },
    Serving(Process),
    Leaving(Leaving),
    Resting { until: Instant },
    Stopped,
}

impl Phase {
    fn process(&self) -> Option<&Process> {
        match self {
            Self::Starting { process, .. } | Self::Serving(process) => Some(process),
            Self::Leaving(leaving) => Some(&leaving.process),
            Self::Resting { .. } | Self::Stopped => None,
        }
    }

    pub(super) fn child(&self) -> Option<&Child> {
        self.process().map(|process| &process.child)
    }

    pub(super) fn child_mut(&mut self) -> Option<&mut Child> {
        match self {
            Self::Starting { process, .. } | Self::Serving(process) => Some(&mut process.child),
            Self::Leaving(leaving) => Some(&mut leaving.process.child),
            Self::Resting { .. } | Self::Stopped => None,
        }
    }

    pub(super) fn words(&self) -> Option<Words<'_>> {
        self.process().map(|process| Words(process.page.words()))
    }
}
