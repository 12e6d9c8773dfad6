//! Where a worker's life is: which process there is, and what becomes of it.

use core::time::Duration;

use heapless::Vec;
use ipc_barrier::process::{Child, Ended};
use ipc_transport::{Instant, Patience, SharedPage, Stream, SystemError, above_stdio};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::watch::{unwatch, watch};
use crate::caller::Caller;
use crate::event::Pending;
use crate::ledger::{Restart, Supervisor, Words};
use crate::start_error::StartError;

/// How soon to try again what cannot be watched.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// How long a process that was killed is waited for before its status counts as unknown: one in
/// uninterruptible sleep ignores even SIGKILL.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// The longest that one blocking receive lasts: so late is a death noticed if the socket stays open
/// since another process holds it too.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// How long a dropped worker's process is waited for.
const FAREWELL: Duration = Duration::from_millis(20);

/// Processes that were killed and given up but are not yet reaped, at most.
const UNREAPED: usize = 4;

/// What the builder calls of [`Start`](crate::Start) have set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) ready_within: Duration,
    pub(crate) patience: Patience,
}

/// Processes that follow one another, and what they have brought that main was not told.
#[derive(Debug)]
pub(crate) struct Life {
    pub(super) policy: Policy,
    pub(super) phase: Phase,
    /// Holds the descriptors of whatever process there is: one for the worker's whole life.
    pub(super) epoll: OwnedFd,
    pub(super) supervisor: Supervisor,
    pub(crate) pending: Pending,
    pub(super) unreaped: Vec<Child, UNREAPED>,
    /// Requests that were sent to a worker that is gone and wait for the next.
    pub(super) resent: usize,
    /// No further worker is started.
    pub(super) is_closing: bool,
    /// How the last process has ended.
    pub(super) ended: Option<Ended>,
}

/// One worker process.
#[derive(Debug)]
pub struct Process {
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
    /// Requests run in main, and their replies have brought this many descriptors.
    InMain {
        sequence: u32,
    },
    Starting {
        process: Process,
        deadline: Instant,
    },
    Serving(Process),
    Leaving(Leaving),
    Resting {
        until: Instant,
    },
    Stopped,
}

/// What a step of a life works on.
pub(crate) struct Turn<'a, L, Tag, const SLOTS: usize, const BYTES: usize> {
    pub(crate) launch: &'a mut L,
    pub(crate) life: &'a mut Life,
    pub(crate) caller: &'a mut Caller<Tag, SLOTS, BYTES>,
    pub(crate) now: Instant,
}

impl Life {
    pub(crate) fn new(policy: Policy) -> Result<Self, SystemError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        Ok(Self {
            policy,
            phase: Phase::Stopped,
            epoll: above_stdio(epoll)?,
            supervisor: Supervisor::new(policy.restart),
            pending: Pending::default(),
            unreaped: Vec::new(),
            resent: 0,
            is_closing: false,
            ended: None,
        })
    }

    /// Returns the descriptor for event loops.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Returns whether requests are run, or will be again.
    pub(crate) const fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Stopped)
    }

    pub(crate) fn child(&self) -> Option<&Child> {
        self.phase.process().map(|process| &process.child)
    }

    /// Returns the words of the worker that has the requests.
    pub(crate) fn words(&self) -> Option<Words<'_>> {
        self.phase.process().map(Process::words)
    }

    /// Returns how the process has ended, `None` inside where there was none; `None` outside while
    /// it has not.
    pub(crate) const fn closed(&self) -> Option<Option<Ended>> {
        if self.is_running() { None } else { Some(self.ended) }
    }

    /// Listens no more to a worker that does not keep the protocol.
    pub(crate) const fn break_off(&mut self) {
        match &mut self.phase {
            Phase::Serving(process) => process.broken = true,
            Phase::Leaving(leaving) => leaving.drained = true,
            _ => {}
        }
    }

    /// Watches a process: its stream, and its end.
    pub(super) fn watch(&self, process: &Process) -> Result<(), SystemError> {
        watch(self.fd(), process.stream.as_fd())?;
        match process.child.pidfd() {
            Some(pidfd) => watch(self.fd(), pidfd),
            None => Ok(()),
        }
    }

    /// Keeps a process that was made to end until it is reaped; it stays watched until then.
    pub(super) fn put_aside(&mut self, child: Child) {
        // There is room: a worker is only started while there is.
        _ = self.unreaped.push(child);
        self.reap();
    }

    /// Drops the processes that have ended by now.
    pub(super) fn reap(&mut self) {
        let epoll = self.epoll.as_fd();
        self.unreaped.retain_mut(|child| {
            let is_left = child.try_wait().is_none();
            if let Some(pidfd) = child.pidfd().filter(|_| !is_left) {
                unwatch(epoll, pidfd);
            }
            is_left
        });
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let child = match &mut self.phase {
            Phase::Starting { process, .. } | Phase::Serving(process) => Some(&mut process.child),
            Phase::Leaving(leaving) => Some(&mut leaving.process.child),
            _ => None,
        };
        if let Some(child) = child {
            // One that cannot be killed ends when it sees that main has closed.
            _ = child.kill();
            _ = child.wait_until(Instant::now() + FAREWELL);
        }
        self.reap();
    }
}

impl Process {
    /// A process that was just made, with main's end of its stream and the words that it shares.
    pub(super) const fn new(child: Child, stream: Stream, page: SharedPage) -> Self {
        Self {
            child,
            stream,
            page,
            watches_room: false,
            send_closed: false,
            broken: false,
            send_after: Instant::PAST,
            looked: Instant::PAST,
        }
    }

    pub(super) fn words(&self) -> Words<'_> {
        Words(self.page.words())
    }
}

impl Phase {
    fn process(&self) -> Option<&Process> {
        match self {
            Self::Starting { process, .. } | Self::Serving(process) => Some(process),
            Self::Leaving(leaving) => Some(&leaving.process),
            Self::InMain { .. } | Self::Resting { .. } | Self::Stopped => None,
        }
    }
}
