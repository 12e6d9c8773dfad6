//! Where a worker's life is: which process there is, and what becomes of it.

use core::mem::{self, MaybeUninit};
use core::time::Duration;

use heapless::Vec;
use ipc_barrier::process::{Child, Ended};
use ipc_transport::{
    Instant, Interest, Patience, SharedPage, Stream, SystemError, Watched, above_stdio, duplicate,
    wait,
};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io;
use rustix::process::{Pid, getpid};

use super::medium::Medium;
use super::shared::Shared;
use crate::event::{Event, GiveUp};
use crate::identity::Identity;
use crate::ledger::{Credit, Restart, Running, Supervisor, TimeLimit, Words};
use crate::server::SHORTAGE;
use crate::start_error::StartError;

/// How soon to try again what cannot be watched.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// How long a process that was killed is waited for before its status counts as unknown: one in
/// uninterruptible sleep ignores even SIGKILL.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// The longest that one blocking receive lasts: so late is a death noticed if the socket stays open
/// since another process holds it too.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// How long the process of a dropped worker is waited for.
const FAREWELL: Duration = Duration::from_millis(20);

/// Processes that were killed and given up but are not yet reaped, at most.
const UNREAPED: usize = 4;

/// The most descriptors that any launch needs at a time.
const RESERVE: usize = 11;

/// Descriptors of them that a process goes on using: main's end of the stream and the pidfd.
const IN_USE: usize = 2;

/// What the builder calls of [`Start`](crate::Start) have set.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub(crate) restart: Restart,
    pub(crate) ready_within: Duration,
    pub(crate) patience: Patience,
    pub(crate) expected: &'static Identity,
    pub(crate) limit: TimeLimit,
}

/// Processes that follow one another, and what they have brought that main was not told.
#[derive(Debug)]
pub(crate) struct Life {
    pub(super) policy: Policy,
    /// The time of the turn.
    pub(crate) now: Instant,
    pub(super) phase: Phase,
    /// The turn has left something that may show by no new edge.
    pub(crate) has_more: bool,
    /// When the phase goes on by itself: a start is late, a process that leaves is killed or not
    /// waited for any longer, a rest is over.
    pub(super) until: Instant,
    /// There is one while the worker starts, serves and leaves.
    pub(crate) process: Option<Process>,
    /// Holds the descriptors of whatever process there is: one for the worker's whole life.
    pub(crate) epoll: OwnedFd,
    /// Keeps as many descriptors as the next process needs, so that one can always be made.
    reserve: Vec<OwnedFd, RESERVE>,
    needs: usize,
    /// The process that this belongs to: a copy in a fork of it lets go and does no more.
    owner: Pid,
    pub(super) supervisor: Supervisor,
    /// How a worker has ended, until that is told.
    pub(crate) died: Option<Ended>,
    /// Why a worker could not be started again, until that is told.
    pub(crate) not_started: Option<StartError>,
    /// A worker is ready, and that is still to be told.
    pub(crate) started: bool,
    /// Why no further worker follows, until that is told.
    pub(crate) gave_up: Option<GiveUp>,
    /// Processes that were let go. They stay watched until they are reaped.
    pub(super) unreaped: Vec<Child, UNREAPED>,
    /// What the worker is at.
    pub(super) running: Running,
    /// What it had sent by then has been received.
    pub(super) heard: Instant,
    /// Requests that were sent to a worker that is gone and wait for the next.
    pub(crate) resent: usize,
    /// No further worker is started.
    pub(super) is_closing: bool,
    /// How the last process has ended; `None` where there was none.
    pub(crate) ended: Option<Ended>,
    /// Why the last worker never was ready, if it was not.
    pub(super) failed: Option<StartError>,
}

/// What there is of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Requests run in main.
    InMain,
    Starting,
    Serving,
    Leaving,
    Resting,
    Stopped,
}

/// One worker process.
#[derive(Debug)]
pub struct Process {
    pub(crate) child: Child,
    pub(super) stream: Stream,
    page: SharedPage,
    /// Words before those of the ring.
    len_alone: usize,
    /// Frames go by the shared words: both sides have agreed.
    pub(crate) uses_ring: bool,
    /// The stream will show what comes next.
    pub(super) shows: bool,
    /// It was asked for descriptors, and may send some.
    pub(super) passes_rights: bool,
    /// The socket was full, and is watched for room.
    pub(super) watches_room: bool,
    /// Nothing further is taken from it, which leaves: all has arrived, or it does not keep the
    /// protocol.
    pub(super) drained: bool,
    pub(super) killed: bool,
    /// Bytes of its last words that are still to be taken, once it has ended.
    pub(super) left: Option<usize>,
    /// Until when nothing is done about it, nor watched, since the system was short of something.
    pub(super) paused: Option<Instant>,
    /// When the process was last looked at.
    pub(super) looked: Instant,
    /// Until when the system may be short of what a call needs, while it is.
    pub(super) shortage: Option<Instant>,
}

impl Life {
    /// Makes a life in the memory given, where it need not be moved to. Each start needs so many
    /// descriptors at a time.
    pub(crate) fn init(
        place: &mut MaybeUninit<Self>,
        policy: Policy,
        needs: usize,
    ) -> Result<(), SystemError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        place.write(Self {
            policy,
            now: Instant::now(),
            phase: Phase::Stopped,
            has_more: false,
            until: Instant::NEVER,
            process: None,
            epoll: above_stdio(epoll)?,
            reserve: Vec::new(),
            needs: needs.min(RESERVE),
            owner: getpid(),
            supervisor: Supervisor::new(policy.restart),
            died: None,
            not_started: None,
            started: false,
            gave_up: None,
            unreaped: Vec::new(),
            running: Running::NONE,
            heard: Instant::PAST,
            resent: 0,
            is_closing: false,
            ended: None,
            failed: None,
        });
        Ok(())
    }

    /// Returns whether requests are run, or will be again.
    pub(crate) const fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Stopped)
    }

    /// Returns how soon it could run a request: 0 now, 1 after a start, 2 never.
    pub(crate) const fn readiness(&self) -> u8 {
        match self.phase {
            Phase::InMain | Phase::Serving => 0,
            Phase::Starting | Phase::Leaving | Phase::Resting => 1,
            Phase::Stopped => 2,
        }
    }

    /// Returns whether it has brought something that main was not told.
    pub(crate) const fn has_news(&self) -> bool {
        self.died.is_some() || self.not_started.is_some() || self.started || self.gave_up.is_some()
    }

    /// Takes the next of that.
    pub(crate) fn next_news<Tag>(&mut self) -> Option<Event<'_, Tag>> {
        if let Some(ended) = self.died.take() {
            Some(Event::Died(ended))
        } else if let Some(error) = self.not_started.take() {
            Some(Event::NotStarted(error))
        } else if mem::take(&mut self.started) {
            Some(Event::Started { resent: mem::take(&mut self.resent) })
        } else {
            self.gave_up.take().map(Event::GaveUp)
        }
    }

    /// Lets a worker follow at the next turn, as if none had ended before.
    pub(crate) fn revive(&mut self) {
        self.is_closing = false;
        self.supervisor = Supervisor::new(self.policy.restart);
        (self.phase, self.until) = (Phase::Resting, Instant::PAST);
    }

    /// Returns the words of the worker that has the requests.
    pub(crate) fn words(&self) -> Words<'_> {
        self.shared().words
    }

    /// Returns the credit of the worker whose notes come.
    pub(crate) fn credit(&self) -> Credit<'_> {
        self.shared().credit
    }

    fn shared(&self) -> Shared<'_> {
        self.process.as_ref().map_or_else(Shared::default, Process::shared)
    }

    /// Gives the reserve up, for a process that is to be made.
    pub(super) fn open_reserve(&mut self) {
        self.reserve.clear();
    }

    /// Takes what the last process has left free, before anything else of the program does.
    pub(super) fn fill_reserve(&mut self) {
        let used = match self.phase {
            Phase::InMain => self.needs,
            _ if self.process.is_some() => IN_USE,
            _ => 0,
        };
        while self.reserve.len() < self.needs.saturating_sub(used) {
            let Ok(fd) = duplicate(self.epoll.as_fd()) else { break };
            _ = self.reserve.push(fd);
        }
    }

    /// Takes a process that was just made, and watches its stream and its end.
    pub(super) fn adopt(&mut self, process: Process) -> Result<(), SystemError> {
        self.ended = None;
        self.process = Some(process);
        self.watch().map_err(SystemError::of("epoll_ctl"))
    }

    fn watch(&self) -> io::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        epoll::add(&self.epoll, &process.stream, EventData::new_u64(0), process.events())?;
        process.child.pidfd().map_or(Ok(()), |pidfd| {
            epoll::add(&self.epoll, pidfd, EventData::new_u64(0), EventFlags::IN)
        })
    }

    fn unwatch(&self) {
        let Some(process) = &self.process else { return };
        _ = epoll::delete(&self.epoll, &process.stream);
        _ = process.child.pidfd().map(|pidfd| epoll::delete(&self.epoll, pidfd));
    }

    /// Pauses after a call that failed for the moment; returns false once that has lasted too long.
    pub(super) fn pause(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        if self.now > *process.shortage.get_or_insert(self.now + SHORTAGE) {
            return false;
        }
        process.paused = Some(self.now + SOON);
        // What shows meanwhile would wake main again and again.
        self.has_more = false;
        self.unwatch();
        true
    }

    /// Returns whether a pause lasts, and ends one that is over.
    pub(super) fn is_paused(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let Some(until) = process.paused.take() else { return false };
        if self.now < until {
            process.paused = Some(until);
        } else if self.watch().is_err() {
            // It may be watched in part.
            self.unwatch();
            self.process.as_mut().map(|process| process.paused.insert(self.now + SOON));
        }
        self.process.as_ref().is_some_and(|process| process.paused.is_some())
    }

    /// Watches the stream for room to write as well, or no more.
    pub(super) fn watch_room(&mut self, for_room: bool) -> io::Result<()> {
        let Some(process) = self.process.as_mut().filter(|it| it.watches_room != for_room) else {
            return Ok(());
        };
        process.watches_room = for_room;
        if process.paused.is_some() {
            return Ok(());
        }
        epoll::modify(&self.epoll, &process.stream, EventData::new_u64(0), process.events())
    }

    /// Drops the processes that have ended by now.
    pub(super) fn reap(&mut self) {
        let epoll = &self.epoll;
        let has_shown = |pidfd: BorrowedFd<'_>| {
            let mut watched = [Watched::new(pidfd, Interest::Input)];
            wait(&mut watched, Some(Instant::PAST)).unwrap_or(false)
        };
        self.unreaped.retain_mut(|child| {
            let is_left = child.try_wait().is_none();
            // One that a tracer keeps from being reaped would show its end for ever.
            if let Some(pidfd) = child.pidfd().filter(|&pidfd| !is_left || has_shown(pidfd)) {
                _ = epoll::delete(epoll, pidfd);
            }
            is_left
        });
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if getpid() != self.owner {
            // The worker serves the process that this one was forked from.
            return;
        }
        if let Some(process) = &mut self.process {
            // One that cannot be killed ends when it sees that main has closed.
            _ = process.child.kill();
            _ = process.child.wait_until(Instant::now() + FAREWELL);
        }
        self.reap();
    }
}

impl Process {
    /// A process that was just made, with main's end of its stream and the words that it shares.
    pub(super) const fn new(
        child: Child,
        stream: Stream,
        page: SharedPage,
        len_alone: usize,
    ) -> Self {
        Self {
            child,
            stream,
            page,
            len_alone,
            uses_ring: false,
            shows: true,
            passes_rights: false,
            watches_room: false,
            drained: false,
            killed: false,
            left: None,
            paused: None,
            looked: Instant::PAST,
            shortage: None,
        }
    }

    /// What its stream is watched for.
    const fn events(&self) -> EventFlags {
        if self.watches_room && !self.uses_ring {
            EventFlags::IN.union(EventFlags::OUT)
        } else {
            EventFlags::IN
        }
    }

    fn shared(&self) -> Shared<'_> {
        Shared::of(self.page.words(), self.len_alone)
    }

    /// Returns whether there is a ring, which the worker may use.
    pub(super) fn has_ring(&self) -> bool {
        !self.shared().ring.is_empty()
    }

    /// The transport, which waits with patience or not at all.
    pub(super) fn link<'a, M: Medium>(
        &'a mut self,
        medium: &'a mut M,
        patience: Option<Patience>,
    ) -> M::Link<'a> {
        let Self { stream, page, len_alone, uses_ring, .. } = self;
        let ring = if *uses_ring { Shared::of(page.words(), *len_alone).ring } else { &[] };
        medium.link(stream, ring, patience)
    }

    /// Notes whether the stream will show what comes next, after a receive.
    pub(super) fn see_what_shows(&mut self, medium: &impl Medium) {
        self.shows = !self.uses_ring || medium.shows();
    }

    /// Does without that, before a receive that is to wait.
    pub(super) fn stop_showing<M: Medium>(&mut self, medium: &mut M) {
        if self.uses_ring && medium.shows() {
            M::stop_showing(&mut self.link(medium, None));
        }
    }

    /// Returns how many bytes wait to be received, and not fewer.
    pub(super) fn waiting<M: Medium>(&mut self, medium: &mut M) -> usize {
        let waiting = self.stream.waiting();
        waiting.saturating_add(M::waiting(&self.link(medium, None)))
    }
}
