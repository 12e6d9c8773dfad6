//! What main is told: outcomes, deaths and starts.

use core::fmt;
use core::time::Duration;

use heapless::deque::DequeView;
use ipc_barrier::Ended;
use ipc_transport::FdsLost;
use rustix::fd::OwnedFd;

use crate::refusal::Refusal;
use crate::start::StartError;

/// What [`Worker::next_event`](crate::Worker::next_event) gives.
#[derive(Debug)]
pub enum Event<'a, Tag> {
    /// A request has its one outcome.
    Done {
        /// The tag that the caller gave.
        tag: Tag,
        /// How it ended.
        outcome: Outcome<'a>,
    },
    /// The worker has ended. Replies that it had written were given before.
    Died(Ended),
    /// A new worker has met main at the start-up barrier; nothing was sent to it yet.
    Started {
        /// How many requests had been sent to the one before and go to this one.
        resent: usize,
    },
    /// There will be no further worker. All requests have had their outcome.
    GaveUp(GiveUp),
}

/// How a request ended; each that was taken ends in exactly one way.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The handler has replied.
    Reply(ReplyView<'a>),
    /// The handler has refused.
    Refused(Refusal),
    /// The worker was lost with it.
    Lost(Lost),
    /// Its deadline has passed. If the handler had not begun it never will; else it may yet end.
    DeadlinePassed,
    /// It was cancelled. If the handler had not begun it never will; else it may yet end.
    Cancelled,
}

/// How far a request had come when it was lost with its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Its handler was running: what it did is unknown.
    Running,
    /// Its handler had finished, but its batch was not settled or the reply not sent.
    Done,
    /// Its handler had not begun.
    NotBegun,
}

/// A reply that lies in the worker's buffer until the next call.
#[derive(Debug)]
pub struct ReplyView<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) fds: &'a mut DequeView<OwnedFd>,
    pub(crate) fds_lost: Option<FdsLost>,
}

impl<'a> ReplyView<'a> {
    /// Returns the handler's bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.payload
    }

    /// Takes the next descriptor, in the handler's order. Those that are left are closed when
    /// the next event is asked for.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Returns how many descriptors were lost on the way, if so.
    pub const fn fds_lost(&self) -> Option<FdsLost> {
        self.fds_lost
    }
}

/// Why there is no further worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUp {
    /// Workers ended too often.
    TooManyEnds {
        /// Ends within the window.
        count: u32,
        /// The window.
        window: Duration,
        /// Why the last one did not start, if it did not.
        last: Option<StartError>,
    },
    /// None can be started, now or later.
    CannotStart(StartError),
    /// The handler's `settle` has refused in line, where no process can be ended for it.
    NotSettled(Refusal),
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyEnds { count, window, last } => {
                write!(f, "the worker ended {count} times within {} s", window.as_secs())?;
                last.map_or(Ok(()), |error| write!(f, "; at last it did not start: {error}"))
            }
            Self::CannotStart(error) => write!(f, "no worker can be started: {error}"),
            Self::NotSettled(refusal) => write!(f, "the work could not be settled: {refusal}"),
        }
    }
}

impl core::error::Error for GiveUp {}
