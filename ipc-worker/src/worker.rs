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
use crate::ledger::{Ending, RequestId, Told, Words};
use crate::process::{Exec, Fork, Launch, Main};
use crate::refusal::Refusal;

/// A worker as main sees it, with at most `SLOTS` requests under way in `BYTES` bytes each way.
///
/// `L` is its launch: [`Fork`](crate::Fork) or [`Inline`](crate::Inline) with the handler's type. A
/// request may be `BYTES - 24` bytes long, a reply `BYTES / 2 - 24`; `BYTES` is at least 256.
///
/// The loop of a daemon waits for [`as_fd`](AsFd::as_fd) to be readable or for
/// [`next_deadline`](Self::next_deadline), calls [`turn`](Self::turn), and takes events until
/// there is none. After that it may make calls while [`has_room`](Self::has_room).
///
/// Dropping a worker closes its socket, kills its process, and waits at most 20 ms for its end. Use
/// [`stop`](Self::stop) to lose nothing.
pub struct Worker<Tag, L: Launch, const SLOTS: usize = 64, const BYTES: usize = 32768> {
    main: Main<Tag, L, SLOTS, BYTES>,
}

// It may be made in one thread and used in another.
assert_impl_all!(
    Worker<u64, Fork<fn(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>>, 4, 1024>:
    Send, Sync
);
assert_impl_all!(Worker<u64, Exec<'static>, 4, 1024>: Send, Sync);

/// An event that was found.
pub(crate) enum Found<Tag> {
    Told(Told<Tag>),
    Note(Header),
    /// What the worker's life has brought. It stays there until it is shown.
    News,
}

impl<Tag, L: Launch, const SLOTS: usize, const BYTES: usize> Worker<Tag, L, SLOTS, BYTES> {
    /// Bytes of the longest request.
    pub const REQUEST_CAPACITY: usize = Outbox::<BYTES, SLOTS>::CAPACITY;

    /// Returns the worker's process number, while there is a process.
    pub fn pid(&self) -> Option<i32> {
        self.main.life.process.as_ref().map(|process| process.child.pid())
    }

    /// Returns whether a worker is ready to take requests, or will be again.
    pub const fn is_running(&self) -> bool {
        self.main.life.is_running()
    }

    /// Returns whether requests and replies go through a ring in shared memory at present: see
    /// [`Start::over_ring`](crate::Start::over_ring).
    #[cfg(feature = "ring")]
    pub fn is_over_ring(&self) -> bool {
        self.main.life.process.as_ref().is_some_and(|process| process.uses_ring)
    }

    /// Returns how many requests there are, one-way ones among them.
    pub(crate) const fn in_use(&self) -> usize {
        self.main.caller.table.in_use()
    }

    /// Returns whether a request is under way, or its outcome is not told.
    pub(crate) fn holds(&self, id: RequestId) -> bool {
        self.main.caller.table.holds(id)
    }

    /// Returns how soon it could run a request: 0 now, 1 after a start, 2 never.
    pub(crate) const fn readiness(&self) -> u8 {
        self.main.life.readiness()
    }

    /// Returns how many requests have not had their outcome told. One-way requests never have one.
    pub const fn under_way(&self) -> usize {
        self.main.caller.table.in_use() - self.main.caller.table.one_ways()
    }

    /// Returns how many one-way requests are not known to be done.
    pub const fn one_ways_under_way(&self) -> usize {
        self.main.caller.table.one_ways()
    }

    /// Returns what was counted since the start: what was not taken and why, strays, one-way requests
    /// and notes that came to nothing, lies, kills and waits.
    pub fn counters(&self) -> Counters {
        let mut counters = self.main.caller.last.counters;
        add(&mut counters.notes_dropped, self.main.life.credit().dropped().into());
        counters
    }

    /// Returns when [`turn`](Self::turn) is to be called at the latest, even if the descriptor
    /// shows nothing; in the past for at once, `None` for no such time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let is_due = self.main.caller.has_answer() || self.main.caller.last.regained;
        if is_due || self.main.life.has_news() || self.main.life.is_blind() {
            return Some(Instant::PAST);
        }
        let next = self.main.life.deadline(self.main.caller.outbox.has_unsent());
        let next = next.min(self.main.caller.last.earliest);
        Some(next).filter(|&next| next != Instant::NEVER)
    }

    /// Does all I/O, a bounded amount: sends what is queued, receives at most once, looks after the
    /// process, and in line runs the handler. It never waits.
    ///
    /// `now` is the present time; it decides deadlines and delays. Returns whether there may be more
    /// to do at once. The descriptor goes on showing that, so a level-triggered loop need not look;
    /// an edge-triggered one takes the events and calls it again until it returns false.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.main.caller.last.regained = false;
        self.main.life.now = now;
        self.main.run();
        self.main.life.has_more
    }

    /// Returns the next event. It does no I/O, but descriptors left in the event before are closed.
    ///
    /// Take events until there is none: further turns wait for that.
    pub fn next_event(&mut self) -> Option<Event<'_, Tag>> {
        let found = self.find()?;
        self.show(found)
    }

    /// Finds the next event, and borrows nothing yet.
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
        // A death is told before the outcomes that follow from it, and all else after them.
        if life.died.is_none() {
            if let Some(told) = self.main.caller.table.next_ended() {
                return Some(Found::Told(told));
            }
        }
        life.has_news().then_some(Found::News)
    }

    /// Shows what was found, with what belongs to it.
    pub(crate) fn show(&mut self, found: Found<Tag>) -> Option<Event<'_, Tag>> {
        match found {
            Found::Told(told) => {
                let Main { launch, caller, .. } = &mut self.main;
                let is_reply = told.ending == Ending::Replied;
                let block = launch.blocks().returned(told.frame, is_reply);
                let (tag, outcome) = caller.outcome(told, block);
                Some(Event::Done { tag, outcome })
            }
            Found::Note(header) => {
                let (tag, note) = self.main.caller.note(header);
                Some(Event::Note { tag, note })
            }
            Found::News => self.main.life.next_news(),
        }
    }

    /// Kills the worker's process, if there is one (`SIGKILL`), and does not wait for its end. The
    /// next turns take its last replies, tell [`Event::Died`], and see to its requests, as at any
    /// death; the restart policy decides what follows.
    pub fn kill(&mut self) {
        if self.main.kill() {
            add(&mut self.main.caller.last.counters.killed_by_hand, 1);
        }
    }

    /// Begins anew after [`Event::GaveUp`], or after [`stop`](Self::stop): the next turn starts a
    /// worker, with the restart policy as at the start. [`Event::Started`] or
    /// [`Event::NotStarted`] follows. Returns false, and does nothing, while a worker runs or will
    /// run again.
    pub fn revive(&mut self) -> bool {
        let is_stopped = !self.is_running();
        if is_stopped {
            self.main.life.revive();
        }
        is_stopped
    }

    /// Stops the worker: no new requests, every outcome given to the closure, one-way requests
    /// done, the process ended and reaped. Returns how that ended, `None` where there was no
    /// process.
    ///
    /// A worker that dies meanwhile is restarted as long as requests are under way. At the
    /// deadline it is killed and what is left is lost. A process that even then does not end,
    /// in uninterruptible sleep, is left after 0.2 s: [`Ended::Unknown`].
    pub fn stop(
        &mut self,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_, Tag>),
    ) -> Option<Ended> {
        while self.is_running() && Instant::now() < deadline && self.main.caller.table.in_use() > 0
        {
            self.go_on(deadline, &mut on_event);
        }
        self.main.close(deadline);
        // It ends by itself or is killed at the deadline, and is not waited for without end.
        while self.is_running() {
            self.go_on(Instant::NEVER, &mut on_event);
        }
        self.main.caller.lose_all(Words::default());
        self.go_on(Instant::PAST, &mut on_event);
        self.main.life.ended
    }

    /// Waits until there is something to do, the deadline at the latest, does it, and gives the
    /// closure what has come.
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
    /// The descriptor to watch for reading, the same for the worker's whole life.
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
