//! Main's side of a worker: calls in, events out, and one `turn` that does all I/O.

mod calls;
mod place;

use core::fmt;

use ipc_barrier::process::Ended;
use ipc_frame::Header;
use ipc_transport::{Instant, Outbox};
use rustix::fd::{AsFd, BorrowedFd};
use static_assertions::assert_impl_all;

use crate::blocks::Lend;
use crate::caller::Answer;
use crate::counters::{Counters, add};
use crate::event::Event;
use crate::handler::{Reply, Request};
use crate::ledger::{RequestId, Told, Words};
use crate::process::{Exec, Fork, Launch, Main};
use crate::refusal::Refusal;

/// Main's side of a worker. At most `SLOTS` requests are in flight, in `BYTES` bytes for each
/// direction.
///
/// `L` is the launch: [`Exec`](crate::Exec), or [`Fork`](crate::Fork) or [`Inline`](crate::Inline)
/// with the handler's type. The longest request has `BYTES - 24` bytes, the longest reply
/// `BYTES / 2 - 24`. `BYTES` is at least 256.
///
/// An event loop waits until [`as_fd`](AsFd::as_fd) is readable or
/// [`next_deadline`](Self::next_deadline) has passed, calls [`turn`](Self::turn), then takes all
/// events. After that it may make calls while [`has_room`](Self::has_room).
///
/// Dropping a worker closes its socket, kills its process and waits at most 20 ms for the end. To
/// lose nothing, call [`stop`](Self::stop) first.
pub struct Worker<Tag, L: Launch, const SLOTS: usize = 64, const BYTES: usize = 32768> {
    main: Main<Tag, L, SLOTS, BYTES>,
}

// It can be created in one thread and used in another.
assert_impl_all!(
    Worker<u64, Fork<fn(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>>, 4, 1024>:
    Send, Sync
);
assert_impl_all!(Worker<u64, Exec<'static>, 4, 1024>: Send, Sync);

/// An event that was found but not yet shown.
pub(crate) enum Found<Tag> {
    Told(Told<Tag>),
    Note(Header),
    /// A change in the worker's life. It stays there until it is shown.
    News,
}

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Worker<Tag, L, SLOTS, BYTES> {
    /// Bytes of the longest request.
    pub const REQUEST_CAPACITY: usize = Outbox::<BYTES, SLOTS>::CAPACITY;

    /// Returns the worker's pid, or `None` if there is no process.
    pub fn pid(&self) -> Option<i32> {
        self.main.life.process.as_ref().map(|process| process.child.pid())
    }

    /// Returns whether a worker is ready to take requests, or will be.
    pub const fn is_running(&self) -> bool {
        self.main.life.is_running()
    }

    /// Returns whether requests and replies go through a ring in shared memory; see
    /// [`Start::over_ring`](crate::Start::over_ring).
    #[cfg(feature = "ring")]
    pub fn is_over_ring(&self) -> bool {
        self.main.life.process.as_ref().is_some_and(|process| process.uses_ring)
    }

    /// Returns how many requests are in flight, including one-way requests and one that was given
    /// up but still runs.
    pub(crate) fn load(&self) -> usize {
        self.main.caller.load()
    }

    /// Returns whether a request is in flight, or its outcome was not taken yet.
    pub(crate) fn holds(&self, id: RequestId) -> bool {
        self.main.caller.table.holds(id)
    }

    /// Returns how soon the worker could run a request: 0 now, 1 after a start, 2 never.
    pub(crate) const fn readiness(&self) -> u8 {
        self.main.life.readiness()
    }

    /// Returns how many requests still have an outcome to come. One-way requests have none.
    pub const fn under_way(&self) -> usize {
        self.main.caller.table.in_use() - self.main.caller.table.one_ways()
    }

    /// Returns how many one-way requests are not known to be done.
    pub const fn one_ways_under_way(&self) -> usize {
        self.main.caller.table.one_ways()
    }

    /// Returns the counters since the start: rejected requests by reason, stray answers, failed
    /// one-way requests and notes, protocol violations, kills and waits.
    pub fn counters(&self) -> Counters {
        let mut counters = self.main.caller.last.counters;
        add(&mut counters.notes_dropped, self.main.life.credit().dropped().into());
        counters
    }

    /// Returns the latest time to call [`turn`](Self::turn), even if the descriptor is not
    /// readable. A time in the past means at once. `None` means no limit.
    pub fn next_deadline(&self) -> Option<Instant> {
        let is_due = self.main.caller.has_answer() || self.main.caller.last.regained;
        if is_due || self.main.life.has_news() || self.main.life.is_blind() {
            return Some(Instant::PAST);
        }
        let next = self.main.life.deadline(self.main.caller.outbox.has_unsent());
        let next = next.min(self.main.caller.last.earliest);
        Some(next).filter(|&next| next != Instant::NEVER)
    }

    /// Does all I/O, a bounded amount per call, and never waits: sends queued frames, receives at
    /// most once, checks the process, and inline runs the handler.
    ///
    /// `now` is the current time, for deadlines and delays. Returns whether there may be more to do
    /// at once. A level-triggered loop may ignore this, because the descriptor stays readable. An
    /// edge-triggered loop takes the events and calls `turn` again until it returns false.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.main.caller.last.regained = false;
        self.main.life.now = now;
        self.main.run();
        self.main.life.has_more
    }

    /// Returns the next event. Does no I/O, except that it closes descriptors left in the previous
    /// event.
    ///
    /// Take all events: while some are left, `turn` may receive nothing.
    pub fn next_event(&mut self) -> Option<Event<'_, Tag>> {
        let found = self.find()?;
        self.show(found)
    }

    /// Finds the next event without borrowing anything.
    #[inline]
    pub(crate) fn find(&mut self) -> Option<Found<Tag>> {
        self.main.caller.forget_told();
        match self.main.caller.next_answer() {
            Ok(Some(Answer::Told(told))) => Some(Found::Told(told)),
            Ok(Some(Answer::Note(note))) => {
                self.main.life.credit().take(note.len());
                Some(Found::Note(note))
            }
            Ok(None) => {
                self.main.watch_running();
                self.find_news()
            }
            Err(_broken) => {
                add(&mut self.main.caller.last.counters.broken_frames, 1);
                self.main.caller.inbox.reset();
                self.main.break_off();
                self.find_news()
            }
        }
    }

    fn find_news(&mut self) -> Option<Found<Tag>> {
        let life = &self.main.life;
        // A death is reported before the outcomes that follow from it, and all else after them.
        if life.died.is_none() {
            if let Some(told) = self.main.caller.table.next_ended() {
                return Some(Found::Told(told));
            }
        }
        life.has_news().then_some(Found::News)
    }

    /// Returns the event that was found.
    pub(crate) fn show(&mut self, found: Found<Tag>) -> Option<Event<'_, Tag>> {
        match found {
            Found::Told(told) => {
                let Main { launch, caller, .. } = &mut self.main;
                let block = launch.blocks_mut().take_back(told.frame, told.ending);
                let (tag, outcome) = caller.outcome(told, block);
                Some(Event::Done { tag, outcome })
            }
            Found::Note(header) => {
                let (tag, note) = self.main.caller.note(header);
                Some(Event::Note { tag, note })
            }
            Found::News => self.main.life.next_news(self.main.caller.resent()),
        }
    }

    /// Kills the worker's process (`SIGKILL`), if there is one, and does not wait for its end. The
    /// next turns receive its last replies, report [`Event::Died`], and decide about its requests,
    /// as after any death. The restart policy decides whether another worker starts.
    pub fn kill(&mut self) {
        if self.main.kill() {
            add(&mut self.main.caller.last.counters.killed_by_hand, 1);
        }
    }

    /// Starts over after [`Event::GaveUp`] or [`stop`](Self::stop): the next turn starts a worker,
    /// with a fresh restart policy. [`Event::Started`] or [`Event::NotStarted`] follows. Does
    /// nothing and returns false while a worker runs or will be restarted.
    pub fn revive(&mut self) -> bool {
        let is_stopped = !self.is_running();
        if is_stopped {
            self.main.life.revive();
        }
        is_stopped
    }

    /// Stops the worker. Accepts no new requests, passes every outcome to the closure, finishes
    /// one-way requests, and reaps the process. Returns how the process ended, or `None` without
    /// a process.
    ///
    /// If the worker dies meanwhile, it is restarted while requests are in flight. At the deadline
    /// it is killed, and the remaining requests are lost. A process in uninterruptible sleep is
    /// abandoned after 0.2 s: [`Ended::Unknown`].
    pub fn stop(
        &mut self,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_, Tag>),
    ) -> Option<Ended> {
        while self.is_running() && Instant::now() < deadline && self.load() > 0 {
            self.go_on(deadline, &mut on_event);
        }
        self.main.close(deadline);
        // It ends by itself or is killed at the deadline, so this loop ends.
        while self.is_running() {
            self.go_on(Instant::NEVER, &mut on_event);
        }
        self.main.caller.lose_all(Words::default());
        self.go_on(Instant::PAST, &mut on_event);
        self.main.life.ended
    }

    /// Waits for something to do, at most until the deadline, does it, and passes the events to the
    /// closure.
    fn go_on(&mut self, deadline: Instant, on_event: &mut impl FnMut(Event<'_, Tag>)) {
        let has_news = self.main.caller.has_answer() || self.main.life.has_news();
        let has_news = has_news || self.main.caller.last.regained;
        let next = self.main.life.deadline(false).min(self.main.caller.last.earliest);
        let wake = if has_news { Instant::PAST } else { next.min(deadline) };
        self.main.caller.last.regained = false;
        self.main.life.now = Instant::now();
        self.main.wait(wake);
        while let Some(event) = self.next_event() {
            on_event(event);
        }
    }
}

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> AsFd for Worker<Tag, L, SLOTS, BYTES> {
    /// Returns the descriptor to watch for reading. It stays the same for the worker's whole life.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.main.life.epoll.as_fd()
    }
}

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> fmt::Debug
    for Worker<Tag, L, SLOTS, BYTES>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("life", &self.main.life)
            .field("under_way", &self.under_way())
            .field("one_ways_under_way", &self.one_ways_under_way())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
