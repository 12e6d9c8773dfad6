//! Main's side of a worker: calls in, events out, and one `turn` that does all input and output.

mod call;
mod exchange;
mod inline;
mod launch;
mod leave;
mod life;
mod stop;
mod watch;

use heapless::Vec;
use ipc_barrier::{Child, Ended};
use ipc_transport::{Instant, SystemError, above_stdio};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::caller::{Answer, Caller};
use crate::counters::Counters;
use crate::event::{Event, GiveUp, Outcome};
use crate::handler::{Handler, HandlerFn};
use crate::refusal::Refusal;
use crate::serve::reply_capacity;
use crate::start::{Start, StartError};
use crate::supervise::Supervisor;
use crate::table::Ending;
use life::Phase;

/// Processes that were killed and given up but are not yet reaped, at most.
const UNREAPED: usize = 4;

/// A worker process as main sees it, with at most `SLOTS` requests under way in `BYTES` bytes
/// each way.
///
/// `H` is the handler: a plain function unless said otherwise. A request may be
/// `BYTES - 24` bytes long, a reply `BYTES / 2 - 24`; `BYTES` is at least 256.
///
/// The loop of a daemon waits for [`as_fd`](AsFd::as_fd) to be readable or for
/// [`next_deadline`](Self::next_deadline), calls [`turn`](Self::turn), and takes events until
/// there is none. After that it may make calls while [`has_room`](Self::has_room).
///
/// Dropping a worker closes its socket and kills its process, and never waits: use
/// [`stop`](Self::stop) to lose nothing, and to leave no zombie until main itself ends.
pub struct Worker<Tag, H = HandlerFn, const SLOTS: usize = 64, const BYTES: usize = 32768> {
    start: Start<H>,
    phase: Phase,
    /// Holds the descriptors of whatever process there is: one for the worker's whole life.
    epoll: OwnedFd,
    caller: Caller<Tag, SLOTS, BYTES>,
    supervisor: Supervisor,
    news: News,
    unreaped: Vec<Child, UNREAPED>,
    /// No further requests, and no further worker than those under way need.
    stopping: bool,
    /// Requests that were sent to a worker that is gone and wait for the next.
    resent: usize,
}

/// What is still to be told beside the outcomes.
#[derive(Debug, Default)]
struct News {
    died: Option<Ended>,
    started: Option<usize>,
    gave_up: Option<GiveUp>,
}

/// What an event will be, found before anything of it is borrowed.
enum Found<Tag> {
    Answer(Answer<Tag>),
    Ended(Tag, Ending),
    Died(Ended),
    Started(usize),
    GaveUp(GiveUp),
}

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Bytes of the longest request.
    pub const REQUEST_CAPACITY: usize = Caller::<Tag, SLOTS, BYTES>::CAPACITY;

    /// Starts a worker and waits until it is ready: forks, sets the child up and meets it at the
    /// barrier.
    ///
    /// # Errors
    /// A failure of the child's set-up or of [`Handler::prepare`] arrives with its stage and
    /// number; see [`StartError`]. No process is left then.
    pub fn start(start: Start<H>) -> Result<Self, StartError> {
        const { assert!(BYTES >= 256, "a worker has at least 256 bytes each way") };
        const { assert!(reply_capacity(BYTES) >= Refusal::SIZE, "a refusal fits in a reply") };
        if let Some(count) = start.too_many_kept {
            return Err(StartError::too_many_kept(count));
        }
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        let mut worker = Self {
            supervisor: Supervisor::new(start.restart),
            start,
            phase: Phase::Stopped,
            epoll: above_stdio(epoll)?,
            caller: Caller::new(),
            news: News::default(),
            unreaped: Vec::new(),
            stopping: false,
            resent: 0,
        };
        worker.start_first()?;
        Ok(worker)
    }

    /// Returns the worker's process number, while there is a process.
    pub fn pid(&self) -> Option<i32> {
        self.phase.child().map(Child::pid)
    }

    /// Returns whether a worker is ready to take requests, or will be again.
    pub const fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Stopped)
    }

    /// Returns how many requests have not had their outcome; one-way requests never have one.
    pub const fn under_way(&self) -> usize {
        self.caller.table.under_way() - self.caller.table.one_ways()
    }

    /// Returns how many one-way requests are not known to be done.
    pub const fn one_ways_under_way(&self) -> usize {
        self.caller.table.one_ways()
    }

    /// Returns what was counted since the start: what was not taken and why, strays, and one-way
    /// requests that came to nothing.
    pub const fn counters(&self) -> Counters {
        self.caller.counters
    }

    /// Returns when [`turn`](Self::turn) is to be called at the latest, also when the descriptor
    /// shows nothing; in the past for at once, `None` for no such time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let is_due = self.has_event() || self.caller.has_regained(self.phase.slots());
        let next = if is_due { Instant::PAST } else { self.life_deadline() };
        Some(next.min(self.caller.table.earliest())).filter(|&next| next != Instant::NEVER)
    }

    /// Does all input and output, a bounded amount: sends what is queued, receives at most once,
    /// looks after the process, and in line runs the handler. It never waits.
    ///
    /// `now` is the present time; it decides deadlines and delays.
    pub fn turn(&mut self, now: Instant) {
        self.caller.begin_turn();
        self.expire(now);
        self.live(now);
        self.caller.reclaim(self.phase.slots());
    }

    /// Returns the next event; no input and no output, but descriptors of finished requests are
    /// closed.
    ///
    /// Take events until there is none: further turns wait for that.
    pub fn next_event(&mut self) -> Option<Event<'_, Tag>> {
        self.caller.told = None;
        Some(match self.find()? {
            Found::Answer(Answer::Reply(tag)) => Event::Done { tag, outcome: self.caller.reply() },
            Found::Answer(Answer::Refused(tag, refusal)) => {
                Event::Done { tag, outcome: Outcome::Refused(refusal) }
            }
            Found::Ended(tag, ending) => Event::Done {
                tag,
                outcome: match ending {
                    Ending::Lost(lost) => Outcome::Lost(lost),
                    Ending::DeadlinePassed => Outcome::DeadlinePassed,
                    Ending::Cancelled => Outcome::Cancelled,
                },
            },
            Found::Died(ended) => Event::Died(ended),
            Found::Started(resent) => Event::Started { resent },
            Found::GaveUp(reason) => Event::GaveUp(reason),
        })
    }

    fn find(&mut self) -> Option<Found<Tag>> {
        match self.caller.next_answer() {
            Ok(Some(answer)) => return Some(Found::Answer(answer)),
            Ok(None) => {}
            Err(_broken) => {
                self.caller.inbox.reset();
                self.phase.break_off();
            }
        }
        if let Some(ended) = self.news.died.take() {
            return Some(Found::Died(ended));
        }
        if let Some((tag, ending)) = self.caller.next_ended() {
            return Some(Found::Ended(tag, ending));
        }
        if let Some(resent) = self.news.started.take() {
            return Some(Found::Started(resent));
        }
        self.news.gave_up.take().map(Found::GaveUp)
    }

    fn has_event(&self) -> bool {
        self.caller.inbox.has_frame()
            || self.caller.table.has_ended()
            || self.news.died.is_some()
            || self.news.started.is_some()
            || self.news.gave_up.is_some()
    }

    /// Ends the requests whose deadline has passed.
    fn expire(&mut self, now: Instant) {
        self.caller.expire(now, self.phase.slots());
    }
}

impl<Tag, H, const SLOTS: usize, const BYTES: usize> AsFd for Worker<Tag, H, SLOTS, BYTES> {
    /// The descriptor to watch for reading, the same for the worker's whole life.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<Tag, H, const SLOTS: usize, const BYTES: usize> Drop for Worker<Tag, H, SLOTS, BYTES> {
    fn drop(&mut self) {
        if let Some(child) = self.phase.child_mut() {
            // What cannot be killed ends when it sees that main has closed.
            _ = child.kill();
            child.try_wait();
        }
        for child in &mut self.unreaped {
            child.try_wait();
        }
    }
}
