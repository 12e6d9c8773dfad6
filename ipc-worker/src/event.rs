//! What main is told: outcomes, deaths and starts.

use heapless::deque::DequeView;
use ipc_barrier::Ended;
use ipc_transport::FdsLost;
use rustix::fd::OwnedFd;

use crate::refusal::Refusal;
use crate::supervise::GiveUp;

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
