//! The life of the process behind a worker: starting, serving, leaving, resting, and again.

use core::time::Duration;

use ipc_barrier::{Child, Ended, ParentEnd, Unmet};
use ipc_transport::{Instant, Stream};

use crate::handler::Handler;
use crate::slots::Slots;
use crate::worker::Worker;
use crate::worker::exchange::{SLICE, Wait};
use crate::worker::leave::GRACE;

/// How soon to try again what cannot be watched.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// What belongs to one worker process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) stream: Stream,
    pub(super) slots: Slots,
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

impl Process {
    pub(super) const fn new(child: Child, stream: Stream, slots: Slots, now: Instant) -> Self {
        Self {
            child,
            stream,
            slots,
            watches_room: false,
            send_closed: false,
            broken: false,
            send_after: Instant::PAST,
            looked: now,
        }
    }
}

/// A process that has ended or is made to.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) process: Process,
    pub(super) since: Instant,
    pub(super) ended: Option<Ended>,
    /// Nothing further can arrive.
    pub(super) drained: bool,
    /// Bytes of its last words that are still to be taken, once it has ended.
    pub(super) left: Option<usize>,
    /// Why it never was ready, if it was not.
    pub(super) unmet: Option<Unmet>,
}

/// Where the worker's life stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// With the descriptors that came with replies, and whether the handler runs.
    Inline {
        fd_sequence: u32,
        runs: bool,
    },
    Starting {
        process: Process,
        end: ParentEnd,
        deadline: Instant,
    },
    Serving(Process),
    Leaving(Leaving),
    Resting {
        until: Instant,
    },
    Stopped,
}

impl Phase {
    fn process(&self) -> Option<&Process> {
        match self {
            Self::Starting { process, .. } | Self::Serving(process) => Some(process),
            Self::Leaving(leaving) => Some(&leaving.process),
            Self::Inline { .. } | Self::Resting { .. } | Self::Stopped => None,
        }
    }

    pub(super) fn child(&self) -> Option<&Child> {
        self.process().map(|process| &process.child)
    }

    pub(super) fn child_mut(&mut self) -> Option<&mut Child> {
        match self {
            Self::Starting { process, .. } | Self::Serving(process) => Some(&mut process.child),
            Self::Leaving(leaving) => Some(&mut leaving.process.child),
            Self::Inline { .. } | Self::Resting { .. } | Self::Stopped => None,
        }
    }

    pub(super) fn slots(&self) -> Option<&Slots> {
        self.process().map(|process| &process.slots)
    }

    /// Listens no more to a worker that does not keep the protocol.
    pub(super) const fn break_off(&mut self) {
        match self {
            Self::Serving(process) => process.broken = true,
            Self::Leaving(leaving) => leaving.drained = true,
            _ => {}
        }
    }
}

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// The part of a turn that the phase decides on.
    pub(super) fn live(&mut self, now: Instant) {
        self.reap();
        match self.phase {
            Phase::Inline { .. } => self.run_inline(),
            Phase::Starting { .. } => self.meet(now),
            Phase::Serving(_) => self.exchange(now, Wait::None),
            Phase::Leaving(_) => self.leave(now),
            Phase::Resting { until } if now >= until => self.restart(now),
            Phase::Resting { .. } | Phase::Stopped => {}
        }
    }

    fn wants_to_send(&self, process: &Process) -> bool {
        !process.watches_room && !process.send_closed && self.caller.outbox.has_unsent()
    }

    /// When the phase wants the next turn at the latest.
    pub(super) fn life_deadline(&self) -> Instant {
        match &self.phase {
            Phase::Inline { .. } if self.caller.outbox.has_unsent() => Instant::PAST,
            Phase::Starting { deadline, .. } => *deadline,
            Phase::Serving(process) if process.broken => Instant::PAST,
            Phase::Serving(process) if self.wants_to_send(process) => process.send_after,
            Phase::Leaving(leaving) if leaving.ended.is_some() => Instant::PAST,
            Phase::Leaving(Leaving { process, since, .. }) => match process.child.pidfd() {
                Some(_) => *since + GRACE,
                None => process.looked + SOON,
            },
            Phase::Resting { until } => *until,
            // Without a descriptor for the process, its end may show nowhere else.
            Phase::Serving(process) if process.child.pidfd().is_none() => process.looked + SLICE,
            Phase::Inline { .. } | Phase::Serving(_) | Phase::Stopped => Instant::NEVER,
        }
    }
}
