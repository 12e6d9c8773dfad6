//! The state of a worker's life: its process, and what happens next.

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

/// How soon to retry what cannot be watched.
pub(super) const SOON: Duration = Duration::from_millis(1);

/// How long to wait for a killed process before its status counts as unknown. A process in
/// uninterruptible sleep ignores even SIGKILL.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// The longest blocking receive. A death is noticed this late if another process holds the socket
/// open.
pub(super) const SLICE: Duration = Duration::from_millis(100);

/// How long a dropped worker waits for its process.
const FAREWELL: Duration = Duration::from_millis(20);

/// Most processes that were killed and abandoned but are not reaped yet.
const UNREAPED: usize = 4;

/// The most descriptors that any launch needs at once.
const RESERVE: usize = 11;

/// How many of those a process keeps: main's end of the stream and the pidfd.
const IN_USE: usize = 2;

/// The settings made by [`Start`](crate::Start).
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub(crate) restart: Restart,
    pub(crate) ready_within: Duration,
    pub(crate) patience: Patience,
    pub(crate) expected: &'static Identity,
    pub(crate) limit: TimeLimit,
}

/// A worker's life: one process after another, and the news that main does not know yet.
#[derive(Debug)]
pub(crate) struct Life {
    pub(super) policy: Policy,
    /// The time of the turn.
    pub(crate) now: Instant,
    pub(super) phase: Phase,
    /// There may be more to do, which no new edge will show.
    pub(crate) has_more: bool,
    /// When the phase changes without news: a start is late, a leaving process must be killed or
    /// abandoned, or a pause is over.
    pub(super) until: Instant,
    /// The process, while the worker starts, serves and leaves.
    pub(crate) process: Option<Process>,
    /// Watches the descriptors of the current process. It stays the same for the worker's whole
    /// life.
    pub(crate) epoll: OwnedFd,
    /// Reserves the descriptors for the next process, so that a restart never fails for lack of
    /// them.
    reserve: Vec<OwnedFd, RESERVE>,
    needs: usize,
    /// The process that owns this. A copy in a forked child does nothing when dropped.
    owner: Pid,
    pub(super) supervisor: Supervisor,
    /// How a worker ended, until that is reported.
    pub(crate) died: Option<Ended>,
    /// Why a restart failed, until that is reported.
    pub(crate) not_started: Option<StartError>,
    /// A worker is ready, which is not reported yet.
    pub(crate) started: bool,
    /// Why no further worker follows, until that is reported.
    pub(crate) gave_up: Option<GiveUp>,
    /// Abandoned processes. They stay watched until they are reaped.
    pub(super) unreaped: Vec<Child, UNREAPED>,
    /// The worker's current request.
    pub(super) running: Running,
    /// All that the worker had sent by then has been received.
    pub(super) heard: Instant,
    /// No further worker is started.
    pub(super) is_closing: bool,
    /// How the last process ended. `None` before the first one.
    pub(crate) ended: Option<Ended>,
    /// Why the last worker never became ready, if it did not.
    pub(super) failed: Option<StartError>,
}

/// The phase of a worker's life.
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
    /// Both sides have agreed that frames go through the shared words.
    pub(crate) uses_ring: bool,
    /// The stream will become readable for the next frame.
    pub(super) shows: bool,
    /// A request asked it for descriptors, so it may send some.
    pub(super) passes_rights: bool,
    /// The socket was full, and is watched for room.
    pub(super) watches_room: bool,
    /// No further bytes are taken, because all have arrived or the worker violated the protocol. It
    /// is leaving.
    pub(super) drained: bool,
    pub(super) killed: bool,
    /// Bytes of its last words that are still to be received, once it has ended.
    pub(super) left: Option<usize>,
    /// Pause until then: neither act nor watch, because the system is short of something.
    pub(super) paused: Option<Instant>,
    /// When the process was last checked.
    pub(super) looked: Instant,
    /// When to give up on a shortage of the system, while there is one.
    pub(super) shortage: Option<Instant>,
}

impl Life {
    /// Initializes a life in this memory. Each start needs `needs` descriptors at once.
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
            is_closing: false,
            ended: None,
            failed: None,
        });
        Ok(())
    }

    /// Returns whether requests are run, or will be.
    pub(crate) const fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Stopped)
    }

    /// Returns how soon the worker could run a request: 0 now, 1 after a start, 2 never.
    pub(crate) const fn readiness(&self) -> u8 {
        match self.phase {
            Phase::InMain | Phase::Serving => 0,
            Phase::Starting | Phase::Leaving | Phase::Resting => 1,
            Phase::Stopped => 2,
        }
    }

    /// Returns whether there is news that is not reported yet.
    pub(crate) const fn has_news(&self) -> bool {
        self.died.is_some() || self.not_started.is_some() || self.started || self.gave_up.is_some()
    }

    /// Takes the next piece of news. A new worker gets `resent` requests again.
    pub(crate) fn next_news<Tag>(&mut self, resent: usize) -> Option<Event<'_, Tag>> {
        if let Some(ended) = self.died.take() {
            Some(Event::Died(ended))
        } else if let Some(error) = self.not_started.take() {
            Some(Event::NotStarted(error))
        } else if mem::take(&mut self.started) {
            Some(Event::Started { resent })
        } else {
            self.gave_up.take().map(Event::GaveUp)
        }
    }

    /// Starts a worker at the next turn, as if none had ended before.
    pub(crate) fn revive(&mut self) {
        self.is_closing = false;
        self.supervisor = Supervisor::new(self.policy.restart);
        (self.phase, self.until) = (Phase::Resting, Instant::PAST);
    }

    /// Returns the words of the current worker.
    pub(crate) fn words(&self) -> Words<'_> {
        self.shared().words
    }

    /// Returns the credit of the current worker's notes.
    pub(crate) fn credit(&self) -> Credit<'_> {
        self.shared().credit
    }

    fn shared(&self) -> Shared<'_> {
        self.process.as_ref().map_or_else(Shared::default, Process::shared)
    }

    /// Frees the reserve, for a process about to be made.
    pub(super) fn open_reserve(&mut self) {
        self.reserve.clear();
    }

    /// Takes the descriptors that the last process freed, before other code does.
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

    /// Adopts a new process: watches its stream and its end.
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

    /// Pauses after a temporary failure. Returns false if that has lasted too long.
    pub(super) fn pause(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        if self.now > *process.shortage.get_or_insert(self.now + SHORTAGE) {
            return false;
        }
        process.paused = Some(self.now + SOON);
        // Otherwise main would wake up again and again during the pause.
        self.has_more = false;
        self.unwatch();
        true
    }

    /// Returns whether a pause lasts. Ends one that is over.
    pub(super) fn is_paused(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let Some(until) = process.paused.take() else { return false };
        if self.now < until {
            process.paused = Some(until);
        } else if self.watch().is_err() {
            // It may be partly watched.
            self.unwatch();
            self.process.as_mut().map(|process| process.paused.insert(self.now + SOON));
        }
        self.process.as_ref().is_some_and(|process| process.paused.is_some())
    }

    /// Watches the stream for room to write as well, or no longer.
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

    /// Drops the abandoned processes that have ended.
    pub(super) fn reap(&mut self) {
        let epoll = &self.epoll;
        let has_shown = |pidfd: BorrowedFd<'_>| {
            let mut watched = [Watched::new(pidfd, Interest::Input)];
            wait(&mut watched, Some(Instant::PAST)).unwrap_or(false)
        };
        self.unreaped.retain_mut(|child| {
            let is_left = child.try_wait().is_none();
            // A tracer can keep a process from being reaped. Its pidfd would stay readable.
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
            // A process that cannot be killed ends when it sees that main has closed.
            _ = process.child.kill();
            _ = process.child.wait_until(Instant::now() + FAREWELL);
        }
        self.reap();
    }
}

impl Process {
    /// Creates the state of a new process, from main's end of its stream and the shared words.
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

    /// Returns the events to watch the stream for.
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

    /// Returns whether the worker may use a ring.
    pub(super) fn has_ring(&self) -> bool {
        !self.shared().ring.is_empty()
    }

    /// Returns the transport, blocking with patience or nonblocking.
    pub(super) fn link<'a, M: Medium>(
        &'a mut self,
        medium: &'a mut M,
        patience: Option<Patience>,
    ) -> M::Link<'a> {
        let Self { stream, page, len_alone, uses_ring, .. } = self;
        let ring = if *uses_ring { Shared::of(page.words(), *len_alone).ring } else { &[] };
        medium.link(stream, ring, patience)
    }

    /// Records after a receive whether the stream will become readable for the next frame.
    pub(super) fn see_what_shows(&mut self, medium: &impl Medium) {
        self.shows = !self.uses_ring || medium.shows();
    }

    /// Stops relying on that, before a blocking receive.
    pub(super) fn stop_showing<M: Medium>(&mut self, medium: &mut M) {
        if self.uses_ring && medium.shows() {
            M::stop_showing(&mut self.link(medium, None));
        }
    }

    /// Returns an upper bound of the bytes to receive.
    pub(super) fn waiting<M: Medium>(&mut self, medium: &mut M) -> usize {
        let waiting = self.stream.waiting();
        waiting.saturating_add(M::waiting(&self.link(medium, None)))
    }
}
