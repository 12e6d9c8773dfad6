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
use ipc_frame::{FrameNumber, Header, Kind};
use ipc_transport::{Inbox, Instant, Outbox, SystemError, above_stdio};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::event::{Event, GiveUp, Outcome, ReplyView};
use crate::handler::{Handler, HandlerFn};
use crate::refusal::Refusal;
use crate::serve::reply_capacity;
use crate::slots::RequestId;
use crate::start::{Start, StartError};
use crate::supervise::Supervisor;
use crate::table::{Ending, Table, UnderWay};
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
    table: Table<Tag, SLOTS>,
    outbox: Outbox<BYTES, SLOTS>,
    inbox: Inbox<BYTES>,
    supervisor: Supervisor,
    news: News,
    unreaped: Vec<Child, UNREAPED>,
    /// No further requests, and no further worker than those under way need.
    stopping: bool,
    /// The request that the last event was about.
    told: Option<RequestId>,
    stray_replies: u64,
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
    Reply(Tag),
    Refused(Tag, Refusal),
    Ended(Tag, Ending),
    Died(Ended),
    Started(usize),
    GaveUp(GiveUp),
}

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Bytes of the longest request.
    pub const REQUEST_CAPACITY: usize = BYTES - Header::SIZE;

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
            table: Table::new(),
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            news: News::default(),
            unreaped: Vec::new(),
            stopping: false,
            told: None,
            stray_replies: 0,
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

    /// Returns how many requests have not had their outcome.
    pub const fn under_way(&self) -> usize {
        self.table.under_way()
    }

    /// Returns how many answers came that fit no request: late ones, and forged ones.
    pub const fn stray_replies(&self) -> u64 {
        self.stray_replies
    }

    /// Returns when [`turn`](Self::turn) is to be called at the latest, also when the descriptor
    /// shows nothing; in the past for at once, `None` for no such time.
    pub fn next_deadline(&self) -> Option<Instant> {
        const AT_ONCE: Instant = Instant::from_nanoseconds(0);
        let next = if self.has_event() { AT_ONCE } else { self.life_deadline() };
        Some(next.min(self.table.earliest())).filter(|&next| next != Instant::NEVER)
    }

    /// Does all input and output, a bounded amount: sends what is queued, receives at most once,
    /// looks after the process, and in line runs the handler. It never waits.
    ///
    /// `now` is the present time; it decides deadlines and delays.
    pub fn turn(&mut self, now: Instant) {
        self.expire(now);
        self.live(now);
    }

    /// Returns the next event; no input and no output, but descriptors of finished requests are
    /// closed.
    ///
    /// Take events until there is none: further turns wait for that.
    pub fn next_event(&mut self) -> Option<Event<'_, Tag>> {
        self.told = None;
        Some(match self.find()? {
            Found::Reply(tag) => {
                let arrival = self.inbox.current();
                let reply = ReplyView {
                    payload: arrival.payload,
                    fds: arrival.fds,
                    fds_lost: arrival.fds_lost,
                };
                Event::Done { tag, outcome: Outcome::Reply(reply) }
            }
            Found::Refused(tag, refusal) => Event::Done { tag, outcome: Outcome::Refused(refusal) },
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
        if let Some(found) = self.find_answer() {
            return Some(found);
        }
        if let Some(ended) = self.news.died.take() {
            return Some(Found::Died(ended));
        }
        if let Some((id, tag, ending)) = self.table.next_ended() {
            self.told = Some(id);
            return Some(Found::Ended(tag, ending));
        }
        if let Some(resent) = self.news.started.take() {
            return Some(Found::Started(resent));
        }
        self.news.gave_up.take().map(Found::GaveUp)
    }

    /// Finds the next answer to a request that was sent to this worker; others are counted.
    fn find_answer(&mut self) -> Option<Found<Tag>> {
        loop {
            let header = match self.inbox.advance() {
                Ok(header) => header?,
                Err(_broken) => {
                    self.inbox.reset();
                    self.phase.break_off();
                    return None;
                }
            };
            let asked = RequestId::from_wire(header.id)
                .filter(|_| matches!(header.kind, Kind::Reply | Kind::Refusal))
                .and_then(|id| Some((id, self.table.get(id)?.frame)))
                .filter(|&(_, frame)| self.outbox.is_sent(frame));
            let Some((id, frame)) = asked else {
                self.stray_replies = self.stray_replies.saturating_add(1);
                continue;
            };
            let tag = self.table.finish(id)?;
            self.told = Some(id);
            self.outbox.retire(frame);
            return Some(match header.kind {
                Kind::Refusal => Found::Refused(tag, Refusal::decode(self.inbox.current().payload)),
                _ => Found::Reply(tag),
            });
        }
    }

    fn has_event(&self) -> bool {
        self.inbox.has_frame()
            || self.table.has_ended()
            || self.news.died.is_some()
            || self.news.started.is_some()
            || self.news.gave_up.is_some()
    }

    /// Ends the requests whose deadline has passed.
    fn expire(&mut self, now: Instant) {
        while let Some((id, under_way)) = self.table.next_expired(now) {
            self.end(id, under_way.frame, Ending::DeadlinePassed);
        }
    }

    /// Returns the requests under way, in the order in which they were taken: that in which
    /// their frames are queued.
    fn in_order(&self) -> Vec<(RequestId, UnderWay), SLOTS> {
        let ids = self.outbox.ids().filter_map(RequestId::from_wire);
        ids.filter_map(|id| Some((id, self.table.get(id)?))).collect()
    }

    /// Takes a request back from the worker and ends it.
    fn end(&mut self, id: RequestId, frame: FrameNumber, ending: Ending) {
        if let Some(slots) = self.phase.slots() {
            slots.take_back(id);
        }
        self.outbox.retire(frame);
        self.table.end(id, ending);
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
