//! Events for main: outcomes, deaths, starts and notes.

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

/// An event, as returned by [`Worker::next_event`](crate::Worker::next_event).
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, Tag> {
    /// A request has its outcome. Each request has exactly one.
    Done {
        /// The caller's tag.
        tag: Tag,
        /// How the request ended.
        outcome: Outcome<'a>,
    },
    /// The worker ended. Its last replies were reported before this event.
    Died(Ended),
    /// A restart failed, for this reason. The restart policy decides when the next attempt follows.
    NotStarted(StartError),
    /// A new worker is ready. Nothing was sent to it yet.
    Started {
        /// How many requests were sent to an earlier worker and will be sent to this one.
        resent: usize,
    },
    /// A note that a worker sent.
    Note {
        /// The tag of the note's request. `None` if the note belongs to no request, or if the
        /// request already has its outcome.
        tag: Option<&'a Tag>,
        /// The note.
        note: Note<'a>,
    },
    /// No further worker will start. Every request has had its outcome.
    GaveUp(GiveUp),
}

/// How a request ended. Each accepted request ends in exactly one way.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// The handler replied.
    Reply(ReplyView<'a>),
    /// The handler refused.
    Refused(Refusal),
    /// The kernel refused to pass its descriptors, so it was not sent.
    Unsendable(SystemError),
    /// The request was lost with its worker.
    Lost(Lost<'a>),
    /// It began as often as [`Call::tries`](crate::Call::tries) allows, and its worker died each
    /// time.
    SetAside(Lost<'a>),
    /// Its deadline has passed. If its handler has not begun, it never will. Otherwise it may still
    /// finish.
    DeadlinePassed,
    /// It was cancelled. If its handler has not begun, it never will. Otherwise it may still
    /// finish.
    Cancelled,
}

/// A note, valid until the next call. A hostile worker may send any number and any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    pub(crate) number: u16,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Note<'a> {
    /// The number of a worker's [last words](crate::last_words).
    pub const LAST_WORDS: u16 = LAST_WORDS;

    /// The number of a record of the `log` crate, as sent by a worker with the feature `log`.
    pub const RECORD: u16 = LAST_WORDS - 1;

    /// Returns the note's number, chosen by the program.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Returns the bytes.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the bytes as text, up to the first that is not UTF-8. For a record of the `log`
    /// crate, returns only its text.
    pub fn text(&self) -> &'a str {
        valid(self.record().map_or(self.bytes, |(.., text)| text))
    }

    /// Returns the target of a record of the `log` crate. Empty for any other note.
    pub fn target(&self) -> &'a str {
        self.record().map_or("", |(_, target, _)| valid(target))
    }

    /// Returns level, target and text of a record of the `log` crate. Missing parts are empty.
    pub(crate) fn record(&self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let bytes = Some(self.bytes).filter(|_| self.number == Self::RECORD)?;
        let Some(([level, len], rest)) = bytes.split_first_chunk() else {
            return Some((0, &[], &[]));
        };
        let (target, text) = rest.split_at(rest.len().min(usize::from(*len)));
        Some((*level, target, text))
    }
}

/// Returns the longest prefix that is UTF-8.
fn valid(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// A request that was lost with its worker and is given back. It is valid until the next call.
#[derive(Debug)]
pub struct Lost<'a> {
    /// How far it got, in any of the workers that had it.
    pub how: How,
    pub(crate) method: u16,
    pub(crate) bytes: &'a [u8],
    pub(crate) fds: Fds<'a>,
    pub(crate) block: Option<SharedBytes<'a>>,
}

impl<'a> Lost<'a> {
    /// Returns the method number.
    pub const fn method(&self) -> u16 {
        self.method
    }

    /// Returns the bytes, with the pieces joined.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the payload in its [block](crate::Call::block), if it was lent one. A handler that
    /// had the block may have changed the bytes.
    pub const fn block(&self) -> Option<SharedBytes<'a>> {
        self.block
    }

    /// Returns its descriptors, in order: duplicates of the caller's. They are closed when the next
    /// event is requested. Inline, those that the handler took are missing.
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
    /// Returns the bytes of the reply.
    pub const fn bytes(&self) -> &'a [u8] {
        self.arrival.payload
    }

    /// Returns what the handler put into the request's [block](crate::Call::block), if it was lent
    /// one. Copy the bytes out before you examine them: a hostile worker may still change them.
    pub const fn block(&self) -> Option<SharedBytes<'a>> {
        self.block
    }

    /// Decodes the bytes as a message, which may borrow from them.
    ///
    /// # Errors
    /// See [`MessageError`]. The worker may send any bytes.
    pub fn message<M: Decode<'a>>(&self) -> Result<M, MessageError> {
        M::decode(self.arrival.payload)
    }

    /// Takes the next descriptor, in the handler's order. The rest are closed when the next event
    /// is requested.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.arrival.fds.take_first()
    }

    /// Takes all descriptors, which must be `N`.
    ///
    /// # Errors
    /// [`BadReply::Fds`] if there are more or fewer. None is taken.
    pub fn take_fds<const N: usize>(&mut self) -> Result<[OwnedFd; N], BadReply> {
        const { assert!(N <= MAX_FDS as usize, "a reply carries at most 253 descriptors") };
        let got = self.fd_count();
        self.arrival.fds.take_all().ok_or(BadReply::Fds { expected: N, got })
    }

    /// Returns how many descriptors were not taken yet.
    pub fn fd_count(&self) -> usize {
        self.arrival.fds.len()
    }

    /// Returns how many descriptors were lost in transit, if any.
    pub const fn fds_lost(&self) -> Option<FdsLost> {
        self.arrival.fds_lost
    }
}

/// A reply that is not a valid result of the called method: the worker is hostile, or another
/// build. The reply is consumed. Other requests are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadReply {
    /// The bytes are not a result of the method.
    Message(MessageError),
    /// The method returns another number of descriptors. Some may have been lost in transit.
    Fds {
        /// How many the method returns.
        expected: usize,
        /// How many arrived.
        got: usize,
    },
}

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => write!(f, "the reply is not a result of the method: {error}"),
            Self::Fds { expected, got } => {
                write!(f, "the reply has {got} descriptors, expected {expected}")
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

/// Why no further worker will start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveUp {
    /// Workers ended too often.
    TooManyEnds {
        /// How many ended within the window.
        count: u32,
        /// The length of the window.
        window: Duration,
        /// Why the last one did not start, if it did not.
        last: Option<StartError>,
    },
    /// The handler's `settle` failed inline, where there is no process to replace.
    NotSettled(Refusal),
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyEnds { count, window, last } => {
                write!(f, "the worker ended {count} times within {} s", window.as_secs())?;
                last.map_or(Ok(()), |error| write!(f, "; the last one did not start: {error}"))
            }
            Self::NotSettled(refusal) => write!(f, "settle failed: {refusal}"),
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
