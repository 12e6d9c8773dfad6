//! The life of the process behind a worker: starting, serving, leaving, resting, and again.

use core::mem;
use core::time::Duration;

use ipc_barrier::{Barrier, Child, Ended, Fork, ForkError, ParentEnd, Unmet};
use ipc_transport::{Instant, Stream, SystemError, TransportError};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd};

use crate::call::Again;
use crate::child::{self, Legacy};
use crate::event::Lost;
use crate::handler::Handler;
use crate::slots::Slots;
use crate::start::{ForkFn, StartError};
use crate::supervise::{GiveUp, Next};
use crate::table::Ending;
use crate::worker::Worker;

/// The longest that one blocking receive lasts: so late is a death noticed at which the socket
/// stays open since another process holds it too.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// How long a process that was killed is waited for before its status counts as unknown: one in
/// uninterruptible sleep ignores even SIGKILL.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// How often the process of a busy worker is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How soon to try again what cannot be watched.
const SOON: Duration = Duration::from_millis(1);

/// How soon to try again where too many killed processes are still there.
const LATER: Duration = Duration::from_secs(1);

/// Whether an exchange may wait for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Slice,
}

/// What belongs to one worker process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) stream: Stream,
    pub(super) slots: Slots,
    /// The socket was full, and is watched for room.
    watches_room: bool,
    /// The worker receives no more; what it has written may still come.
    send_closed: bool,
    /// The worker does not keep the protocol.
    broken: bool,
    /// Nothing is sent before this time.
    send_after: Instant,
    /// When the process was last looked at.
    looked: Instant,
}

impl Process {
    const fn new(child: Child, stream: Stream, slots: Slots, now: Instant) -> Self {
        Self {
            child,
            stream,
            slots,
            watches_room: false,
            send_closed: false,
            broken: false,
            send_after: Instant::from_nanoseconds(0),
            looked: now,
        }
    }
}

/// A process that has ended or is made to.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) process: Process,
    since: Instant,
    ended: Option<Ended>,
    /// Nothing further can arrive.
    drained: bool,
    /// Why it never was ready, if it was not.
    unmet: Option<Unmet>,
}

/// Where the worker's life stands.
#[derive(Debug)]
pub(super) enum Phase {
    Inline { fd_sequence: u32 },
    Starting { process: Process, end: ParentEnd, deadline: Instant },
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
    /// Starts the first worker and waits for it.
    pub(super) fn start_first(&mut self) -> Result<(), StartError> {
        let Some(fork) = self.start.fork else {
            return self.start_inline();
        };
        self.launch(fork, Instant::now())?;
        let Phase::Starting { end, deadline, .. } = &mut self.phase else {
            return Ok(());
        };
        let met = end.wait_next_until(*deadline);
        self.begin_serving(Instant::now(), met.err());
        let Phase::Leaving(leaving) = &mut self.phase else {
            return Ok(());
        };
        let ended = leaving.process.child.wait_until(Instant::now() + GRACE);
        let error = not_started(leaving.unmet, ended.unwrap_or(Ended::Unknown));
        self.phase = Phase::Stopped;
        Err(error)
    }

    /// The part of a turn that the phase decides on.
    pub(super) fn live(&mut self, now: Instant) {
        self.unreaped.retain_mut(|child| child.try_wait().is_none());
        match self.phase {
            Phase::Inline { .. } => self.run_inline(),
            Phase::Starting { .. } => self.meet(now),
            Phase::Serving(_) => self.exchange(now, Patience::None),
            Phase::Leaving(_) => self.leave(now),
            Phase::Resting { until } if now >= until => self.restart(now),
            Phase::Resting { .. } | Phase::Stopped => {}
        }
    }

    /// When the phase wants the next turn at the latest.
    pub(super) fn life_deadline(&self) -> Instant {
        const AT_ONCE: Instant = Instant::from_nanoseconds(0);
        match &self.phase {
            Phase::Inline { .. } if self.outbox.has_unsent() => AT_ONCE,
            Phase::Starting { deadline, .. } => *deadline,
            Phase::Serving(process) if process.broken => AT_ONCE,
            Phase::Serving(process) if process.watches_room || process.send_closed => {
                Instant::NEVER
            }
            Phase::Serving(process) if self.outbox.has_unsent() => process.send_after,
            Phase::Leaving(leaving) if leaving.ended.is_some() => AT_ONCE,
            Phase::Leaving(Leaving { process, since, .. }) => match process.child.pidfd() {
                Some(_) => *since + GRACE,
                None => process.looked + SOON,
            },
            Phase::Resting { until } => *until,
            Phase::Inline { .. } | Phase::Serving(_) | Phase::Stopped => Instant::NEVER,
        }
    }

    /// Whether one blocking receive may stand for a poll and a receive.
    pub(super) const fn can_block(&self) -> bool {
        match &self.phase {
            Phase::Serving(process) => {
                !process.watches_room && !process.broken && self.news.started.is_none()
            }
            _ => false,
        }
    }

    /// Forks and lays the ground for the meeting.
    fn launch(&mut self, fork: ForkFn, now: Instant) -> Result<(), StartError> {
        let barrier = Barrier::new()?;
        let (mut stream, theirs) = Stream::pair()?;
        stream.set_receive_timeout(SLICE)?;
        let slots = Slots::new(SLOTS)?;
        for (id, _) in &self.in_order() {
            slots.queue(*id);
        }
        let child = match fork()? {
            Fork::Parent(child) => child,
            Fork::Child(guard) => {
                let legacy = Legacy {
                    end: barrier.into_child(),
                    stream: theirs,
                    slots: &slots,
                    handler: &mut self.start.handler,
                    keep: &self.start.keep,
                    inbox: &mut self.inbox,
                    outbox: &mut self.outbox,
                };
                child::run(guard, legacy)
            }
        };
        let mut process = Process::new(child, stream, slots, now);
        match self.watch_barrier(barrier, &process.child) {
            Ok(end) => {
                let deadline = now + self.start.ready_within;
                self.phase = Phase::Starting { process, end, deadline };
                Ok(())
            }
            Err(error) => {
                // One that cannot be killed ends when it sees that main has closed.
                _ = process.child.kill();
                self.put_aside(process.child);
                Err(error.into())
            }
        }
    }

    fn watch_barrier(&self, barrier: Barrier, child: &Child) -> Result<ParentEnd, SystemError> {
        let mut end = barrier.into_parent().watching(child)?;
        watch(self.epoll.as_fd(), end.watch()?, EventFlags::IN)?;
        Ok(end)
    }

    /// Looks whether the new worker is ready.
    fn meet(&mut self, now: Instant) {
        let Phase::Starting { end, deadline, .. } = &mut self.phase else {
            return;
        };
        let unmet = match end.try_wait_next() {
            Ok(true) => None,
            Ok(false) if now < *deadline => return,
            Ok(false) => Some(Unmet::TimedOut),
            Err(unmet) => Some(unmet),
        };
        self.begin_serving(now, unmet);
        if matches!(self.phase, Phase::Serving(_)) {
            self.news.started = Some(mem::take(&mut self.resent));
        }
    }

    /// Ends the start-up: the worker serves from now on, or leaves again.
    fn begin_serving(&mut self, now: Instant, unmet: Option<Unmet>) {
        let Phase::Starting { process, mut end, .. } =
            mem::replace(&mut self.phase, Phase::Stopped)
        else {
            return;
        };
        if let Ok(barrier) = end.watch() {
            unwatch(self.epoll.as_fd(), barrier);
        }
        let watched = self.watch_process(&process);
        self.phase = Phase::Serving(process);
        if unmet.is_some() || watched.is_err() {
            self.begin_leaving(now, true);
            if let Phase::Leaving(leaving) = &mut self.phase {
                leaving.unmet = Some(unmet.unwrap_or(Unmet::Aborted(None)));
            }
        } else {
            self.supervisor.started(now);
        }
    }

    fn watch_process(&self, process: &Process) -> Result<(), SystemError> {
        watch(self.epoll.as_fd(), process.stream.as_fd(), EventFlags::IN)?;
        match process.child.pidfd() {
            Some(pidfd) => watch(self.epoll.as_fd(), pidfd, EventFlags::IN),
            None => Ok(()),
        }
    }

    /// Sends what is queued and receives once.
    pub(super) fn exchange(&mut self, now: Instant, patience: Patience) {
        let expects = self.outbox.has_sent();
        let sent = self.send(now);
        let Phase::Serving(process) = &mut self.phase else {
            return;
        };
        let received = match patience {
            _ if process.broken => return self.begin_leaving(now, true),
            // Nothing can have been answered yet, so that the call would be in vain.
            Patience::None if sent > 0 && !expects => return,
            Patience::Slice if process.watches_room => return,
            Patience::None => self.inbox.receive(&mut process.stream),
            Patience::Slice => self.inbox.receive(&mut process.stream.blocking()),
        };
        match received {
            Ok(received) => {
                // A blocking receive that brought something has shown life enough.
                let is_busy = patience == Patience::Slice && received.is_some();
                let is_idle = received.is_none() && sent == 0;
                if is_idle || (!is_busy && now.since(process.looked) >= LOOK) {
                    process.looked = now;
                    if process.child.try_wait().is_some() {
                        self.begin_leaving(now, false);
                    }
                }
            }
            // Replies were all received before this; an error says as much as an end.
            Err(_) => self.begin_leaving(now, true),
        }
    }

    /// Sends what is queued, unless a start is still to be told: calls made upon that go first.
    fn send(&mut self, now: Instant) -> usize {
        let Phase::Serving(process) = &mut self.phase else {
            return 0;
        };
        let held_back = self.news.started.is_some() || now < process.send_after;
        if held_back || process.send_closed || !self.outbox.has_unsent() {
            return 0;
        }
        match self.outbox.flush(&mut process.stream) {
            Ok(flushed) => {
                if process.watches_room == flushed.complete {
                    process.watches_room = !flushed.complete;
                    let interest = interest(process.watches_room);
                    let modified = rewatch(self.epoll.as_fd(), process.stream.as_fd(), interest);
                    process.broken |= modified.is_err();
                }
                return flushed.len;
            }
            Err(TransportError::Closed) => process.send_closed = true,
            Err(TransportError::TooManyInFlight) => process.send_after = now + SOON,
            Err(_) => process.broken = true,
        }
        0
    }

    /// Makes an end of a worker that has ended, has closed or is of no use.
    fn begin_leaving(&mut self, now: Instant, drained: bool) {
        match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(mut process) => {
                // For one that is ending by itself this changes nothing, not even its status.
                _ = process.child.kill();
                if drained {
                    unwatch(self.epoll.as_fd(), process.stream.as_fd());
                }
                let ended = process.child.try_wait();
                let leaving = Leaving { process, since: now, ended, drained, unmet: None };
                self.phase = Phase::Leaving(leaving);
            }
            phase => self.phase = phase,
        }
    }

    /// Takes a leaving worker's last words, waits for its status, and then sees to its requests.
    fn leave(&mut self, now: Instant) {
        let Phase::Leaving(leaving) = &mut self.phase else {
            return;
        };
        leaving.process.looked = now;
        leaving.ended = leaving.ended.or_else(|| leaving.process.child.try_wait());
        if !leaving.drained && !self.inbox.has_frame() {
            match self.inbox.receive(&mut leaving.process.stream) {
                Ok(Some(_)) => return,
                Ok(None) if leaving.ended.is_none() => {}
                // With the process gone nothing more comes, whoever else holds the socket.
                Ok(None) | Err(_) => {
                    leaving.drained = true;
                    unwatch(self.epoll.as_fd(), leaving.process.stream.as_fd());
                }
            }
        }
        let is_over = leaving.ended.is_some() || now.since(leaving.since) >= GRACE;
        if leaving.drained && is_over && !self.has_event() {
            self.bury(now);
        }
    }

    fn bury(&mut self, now: Instant) {
        let Phase::Leaving(leaving) = mem::replace(&mut self.phase, Phase::Stopped) else {
            return;
        };
        let Leaving { process, ended, unmet, .. } = leaving;
        self.inbox.reset();
        if unmet.is_none() {
            self.settle_fates(&process.slots, false);
            self.news.died = Some(ended.unwrap_or(Ended::Unknown));
        }
        self.outbox.rewind();
        if let Some(pidfd) = process.child.pidfd() {
            unwatch(self.epoll.as_fd(), pidfd);
        }
        if ended.is_none() {
            self.put_aside(process.child);
        }
        let error = unmet.map(|_| not_started(unmet, ended.unwrap_or(Ended::Unknown)));
        self.follow(now, error);
    }

    /// Reads each request's fate from the page of the worker that is gone: it is kept for the
    /// next one, or it ends here.
    pub(super) fn settle_fates(&mut self, slots: &Slots, is_last: bool) {
        let limit = self.supervisor.policy().resend_limit;
        for (id, under_way) in &self.in_order() {
            let was_sent = self.outbox.is_begun(under_way.frame);
            // What was never sent cannot have begun, whatever the page says.
            let fate = if was_sent { slots.take_back(*id) } else { Lost::NotBegun };
            let goes_on = match fate {
                Lost::NotBegun => !was_sent || under_way.again != Again::Never,
                Lost::Running => under_way.again == Again::Always && under_way.begun < limit,
                Lost::Done => false,
            };
            if is_last || !goes_on {
                self.outbox.retire(under_way.frame);
                self.table.end(*id, Ending::Lost(fate));
                continue;
            }
            self.resent += usize::from(was_sent);
            if fate == Lost::Running {
                self.table.count_begun(*id);
            }
        }
    }

    /// Decides what follows a worker that is gone.
    fn follow(&mut self, now: Instant, error: Option<StartError>) {
        if self.stopping && self.table.under_way() == 0 {
            return;
        }
        match self.supervisor.ended(now) {
            Next::StartAt(at) if at <= now && error.is_none() => self.restart(now),
            Next::StartAt(at) => self.phase = Phase::Resting { until: at.max(now + SOON) },
            Next::GiveUp { count } => {
                let window = self.supervisor.policy().window;
                self.give_up(GiveUp::TooManyEnds { count, window, last: error });
            }
        }
    }

    fn restart(&mut self, now: Instant) {
        let Some(fork) = self.start.fork else {
            return;
        };
        if self.unreaped.is_full() {
            self.phase = Phase::Resting { until: now + LATER };
            return;
        }
        self.phase = Phase::Stopped;
        match self.launch(fork, now) {
            Ok(()) => {}
            Err(
                error @ StartError::Fork(ForkError::Threads { .. } | ForkError::ThreadsUnknown),
            ) => self.give_up(GiveUp::CannotStart(error)),
            Err(error) => self.follow(now, Some(error)),
        }
    }

    pub(super) fn give_up(&mut self, reason: GiveUp) {
        self.lose_all();
        self.phase = Phase::Stopped;
        self.news.gave_up = Some(reason);
    }

    /// Ends every request that no worker has.
    pub(super) fn lose_all(&mut self) {
        for (id, under_way) in &self.in_order() {
            self.outbox.retire(under_way.frame);
            self.table.end(*id, Ending::Lost(Lost::NotBegun));
        }
    }

    /// Keeps a killed process until it can be reaped.
    pub(super) fn put_aside(&mut self, mut child: Child) {
        if child.try_wait().is_none() {
            // There is room: a worker is only started while there is.
            _ = self.unreaped.push(child);
        }
    }
}

fn not_started(unmet: Option<Unmet>, ended: Ended) -> StartError {
    match unmet {
        Some(Unmet::Aborted(Some(reason))) => StartError::Failed(reason),
        Some(Unmet::TimedOut) => StartError::TimedOut,
        Some(Unmet::Aborted(None) | Unmet::Gone) | None => StartError::Died(ended),
    }
}

fn interest(for_room: bool) -> EventFlags {
    if for_room { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

fn watch(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, flags: EventFlags) -> Result<(), SystemError> {
    epoll::add(epoll, fd, EventData::new_u64(0), flags).map_err(SystemError::of("epoll_ctl"))
}

fn rewatch(
    epoll: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    flags: EventFlags,
) -> Result<(), SystemError> {
    epoll::modify(epoll, fd, EventData::new_u64(0), flags).map_err(SystemError::of("epoll_ctl"))
}

/// Forgets a descriptor; it may not be watched at all. Closing it would not do: while a child
/// still holds a copy, the kernel would go on watching.
fn unwatch(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) {
    _ = epoll::delete(epoll, fd);
}
