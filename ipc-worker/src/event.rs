//! What main is told: outcomes, deaths and starts.

use core::fmt;
use core::time::Duration;

use ipc_barrier::process::Ended;
use ipc_frame::{Decode, MAX_FDS, MessageError};
use ipc_transport::{Arrival, Fds, FdsLost, SharedBytes, SystemError};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::ledger::How;
use crate::refusal::Refusal;
use crate::server::LAST_WORDS;
use crate::start_error::StartError;

/// What [`Worker::next_event`](crate::Worker::next_event) gives.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, Tag> {
    /// A request has its one outcome.
    Done {
        /// The tag that the caller gave.
        tag: Tag,
        /// How it ended.
        outcome: Outcome<'a>,
    },
    /// The worker has ended. Replies that it had written were told before.
    Died(Ended),
    /// A worker could not be started again, for this reason. The next attempt follows by the restart
    /// policy.
    NotStarted(StartError),
    /// A new worker is ready; nothing was sent to it yet.
    Started {
        /// How many requests had been sent to the one before and go to this one.
        resent: usize,
    },
    /// A note of a worker, which it has sent without being asked.
    Note {
        /// The request that it belongs to. `None` for a note of no request, and of one that has its
        /// outcome.
        tag: Option<&'a Tag>,
        /// The note.
        note: Note<'a>,
    },
    /// There will be no further worker. Every request has had its outcome.
    GaveUp(GiveUp),
}

/// How a request ended. Each request that was taken ends in exactly one way.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// The handler has replied.
    Reply(ReplyView<'a>),
    /// The handler has refused.
    Refused(Refusal),
    /// The kernel refuses to pass its descriptors, so it was not sent.
    Unsendable(SystemError),
    /// The worker was lost with it.
    Lost(Lost<'a>),
    /// It began as often as [`Call::tries`](crate::Call::tries) allows, and each time its worker
    /// died.
    SetAside(Lost<'a>),
    /// Its deadline has passed. If the handler had not begun it never will; else it may yet end.
    DeadlinePassed,
    /// It was cancelled. If the handler had not begun it never will; else it may yet end.
    Cancelled,
}

/// A note, valid until the next call. Any number and any bytes may come from a hostile worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    pub(crate) number: u16,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Note<'a> {
    /// The number of a worker's [last words](crate::last_words).
    pub const LAST_WORDS: u16 = LAST_WORDS;

    /// The number of a record of the `log` crate, by which a worker with the feature `log` sends it.
    pub const RECORD: u16 = LAST_WORDS - 1;

    /// Returns the number that the worker gave, by which a program tells its notes apart.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Returns the bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the bytes as text, up to the first that is not UTF-8; of a record of the `log` crate
    /// the text alone.
    pub fn text(&self) -> &'a str {
        valid(self.record().map_or(self.bytes, |(.., text)| text))
    }

    /// Returns the target of a record of the `log` crate; of any other note it is empty.
    pub fn target(&self) -> &'a str {
        self.record().map_or("", |(_, target, _)| valid(target))
    }

    /// Level, target and text of a record of the `log` crate. What is missing is empty.
    pub(crate) fn record(&self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let bytes = Some(self.bytes).filter(|_| self.number == Self::RECORD)?;
        let Some(([level, len], rest)) = bytes.split_first_chunk() else {
            return Some((0, &[], &[]));
        };
        let (target, text) = rest.split_at(rest.len().min(usize::from(*len)));
        Some((*level, target, text))
    }
}

/// As much as is UTF-8.
fn valid(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// A request that was lost with its worker, given back. It is valid until the next call.
#[derive(Debug)]
pub struct Lost<'a> {
    /// How far it had come, in any of the workers that had it.
    pub how: How,
    pub(crate) method: u16,
    pub(crate) bytes: &'a [u8],
    pub(crate) fds: Fds<'a>,
    pub(crate) block: Option<SharedBytes<'a>>,
}

impl<'a> Lost<'a> {
    /// Returns its method.
    pub const fn method(&self) -> u16 {
        self.method
    }

    /// Returns its bytes, the pieces joined.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns what it was given in its [block](crate::Call::block), if it was lent one. A handler that
    /// had it may have changed the bytes.
    pub const fn block(&self) -> Option<SharedBytes<'a>> {
        self.block
    }

    /// Returns its descriptors, in order: duplicates of those that the caller gave. They are closed
    /// when the next event is asked for. In line, those that the handler was given are missing.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// Takes the next descriptor.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.take_first()
    }
}

/// A reply, valid until the next call.
#[derive(Debug)]
pub struct ReplyView<'a> {
    pub(crate) arrival: Arrival<'a>,
    pub(crate) block: Option<SharedBytes<'a>>,
}

impl<'a> ReplyView<'a> {
    /// Returns the handler's bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.arrival.payload
    }

    /// Returns what the handler has put into the request's [block](crate::Call::block), if it was lent
    /// one. Copy out what is needed before it is looked at: a hostile worker may go on changing it.
    pub const fn block(&self) -> Option<SharedBytes<'a>> {
        self.block
    }

    /// Reads the bytes as a message, which may borrow from them.
    ///
    /// # Errors
    /// See [`MessageError`]: any bytes at all may come.
    pub fn message<M: Decode<'a>>(&self) -> Result<M, MessageError> {
        M::decode(self.arrival.payload)
    }

    /// Takes the next descriptor, in the handler's order. Those that are left are closed when
    /// the next event is asked for.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.arrival.fds.take_first()
    }

    /// Takes all descriptors, which must be `N`.
    ///
    /// # Errors
    /// [`BadReply::Fds`] where they are more or fewer; none is taken then.
    pub fn take_fds<const N: usize>(&mut self) -> Result<[OwnedFd; N], BadReply> {
        const { assert!(N <= MAX_FDS as usize, "a reply carries at most 253 descriptors") };
        let got = self.fd_count();
        self.arrival.fds.take_all().ok_or(BadReply::Fds { expected: N, got })
    }

    /// Returns how many descriptors are still to be taken.
    pub fn fd_count(&self) -> usize {
        self.arrival.fds.len()
    }

    /// Returns how many descriptors were lost on the way, if so.
    pub const fn fds_lost(&self) -> Option<FdsLost> {
        self.arrival.fds_lost
    }
}

/// A reply that is not a valid result of the called method: the worker is hostile, or was built from
/// something else. The reply is used up; other requests are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadReply {
    /// The bytes are not a result of the method.
    Message(MessageError),
    /// More or fewer descriptors than the method gives; some may have been lost on the way.
    Fds {
        /// How many the method gives.
        expected: usize,
        /// How many came.
        got: usize,
    },
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => write!(f, "not a result of the method: {error}"),
            Self::Fds { expected, got } => {
                write!(f, "a reply with {got} descriptors instead of {expected}")
            }
        }
    }
}

impl core::error::Error for BadReply {}

impl From<MessageError> for BadReply {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
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
            Self::NotSettled(refusal) => write!(f, "the work could not be settled: {refusal}"),
        }
    }
}

impl core::error::Error for GiveUp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_any_bytes_is_read() {
        let read = |bytes: &'static [u8]| {
            let note = Note { number: Note::RECORD, bytes };
            (note.record().map(|(level, ..)| level), note.target(), note.text())
        };
        assert_eq!(read(b"\x02\x03abctext"), (Some(2), "abc", "text"));
        assert_eq!(read(b"\x02\xffabc"), (Some(2), "abc", ""), "a target longer than the note");
        assert_eq!(read(b"\x09\x01\xffte\xffxt"), (Some(9), "", "te"));
        for short in [&b""[..], b"\x01"] {
            assert_eq!(read(short), (Some(0), "", ""));
        }
        let other = Note { number: 3, bytes: b"\x02\x03abc\xff" };
        assert_eq!((other.record(), other.target(), other.text()), (None, "", "\x02\x03abc"));
    }
}
