//! The handler, which a program implements, and the requests and replies that it works on.

use core::cell::RefCell;
use core::fmt;

use ipc_barrier::process::Reason;
use ipc_frame::{Decode, Encode, EncodeError, Header, Kind, MAX_FDS, MessageError};
use ipc_transport::Fds;
use rustix::fd::{BorrowedFd, OwnedFd};

use crate::identity::Identity;
use crate::ledger::{Block, Claim};
use crate::refusal::Refusal;

/// The code that runs in the worker, one request at a time. It may block.
///
/// Functions and closures are handlers. To keep state, implement this for a struct.
pub trait Handler {
    /// Runs once in each new worker, before main learns that it is ready. Use it to open files and
    /// to drop privileges.
    ///
    /// # Errors
    /// The start fails, and main gets the reason.
    fn prepare(&mut self) -> Result<(), Reason> {
        Ok(())
    }

    /// Answers one request. If it returns `Ok`, the contents of `reply` are sent.
    ///
    /// # Errors
    /// The refusal is sent instead of the reply. Main sees it as the request's outcome.
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal>;

    /// Runs once per batch, after its requests and before their replies are sent. Use it for one
    /// fdatasync(2) per batch.
    ///
    /// # Errors
    /// The worker exits with status 74 before it sends the replies. Main sees the requests of the
    /// batch as lost (done).
    fn settle(&mut self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns whether the method takes less than 100 µs. Finished answers may wait for a quick
    /// method, and are sent before a slow one. `None` lets the worker measure it.
    fn is_quick(&self, _method: u16) -> Option<bool> {
        None
    }

    /// Returns what the handler serves. A main that expects something else refuses the worker.
    fn identity(&self) -> Identity {
        Identity::NONE
    }

    /// Lists the descriptors that the handler holds. A forked worker keeps these and 0, 1 and 2,
    /// and detaches all others from their files.
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [].into_iter()
    }
}

impl<F> Handler for F
where
    F: FnMut(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>,
{
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        self(request, reply)
    }

    /// Lists none, so the function must not capture anything.
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        const {
            assert!(
                size_of::<F>() == 0,
                "a forked closure may capture nothing unless it says which descriptors it holds, and a \
                 function pointer counts as a capture: use Start::fork_with, or implement Handler"
            );
        }
        [].into_iter()
    }
}

/// A function or closure with the descriptors that it uses; see
/// [`Start::fork_with`](crate::Start::fork_with).
#[derive(Debug)]
pub struct Holding<'fd, F, const N: usize> {
    pub(crate) function: F,
    pub(crate) fds: [BorrowedFd<'fd>; N],
}

impl<F, const N: usize> Handler for Holding<'_, F, N>
where
    F: FnMut(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>,
{
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        (self.function)(request, reply)
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().copied()
    }
}

/// The answer being written, and the earlier ones that are not sent yet.
pub(crate) trait Answers {
    /// Space for the bytes.
    fn space(&mut self) -> &mut [u8];

    /// Space for the descriptors.
    fn fds(&mut self) -> Fds<'_>;

    /// Settles the batch by `settle`, and sends its answers.
    fn flush(&mut self, settle: &mut dyn FnMut() -> Result<(), Refusal>) -> Result<(), Refusal>;

    /// Sends a note. Returns false if it was dropped.
    fn note(&mut self, header: Header, bytes: &[u8]) -> bool;
}

/// The request and its reply both reach the answers, one at a time.
pub(crate) type Shared<'a> = &'a RefCell<dyn Answers + 'a>;

/// A request, as the handler sees it.
pub struct Request<'a> {
    pub(crate) header: Header,
    pub(crate) bytes: &'a [u8],
    pub(crate) fds: Fds<'a>,
    pub(crate) claim: Option<Claim<'a>>,
    pub(crate) block: Option<Block<'a>>,
    pub(crate) answers: Shared<'a>,
}

impl<'a> Request<'a> {
    /// Returns the method number.
    pub const fn method(&self) -> u16 {
        self.header.method()
    }

    /// Returns the bytes, with the pieces joined.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Decodes the bytes as a message, which may borrow from them.
    ///
    /// # Errors
    /// See [`MessageError`]. It converts to [`Refusal::MALFORMED`].
    pub fn message<M: Decode<'a>>(&self) -> Result<M, MessageError> {
        M::decode(self.bytes)
    }

    /// Takes the next descriptor, in the caller's order. It is close-on-exec. The rest are closed
    /// after the handler returns.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.take_first()
    }

    /// Takes all descriptors, which must be `N`.
    ///
    /// # Errors
    /// [`Refusal::WRONG_FDS`] if there are more or fewer. None is taken.
    pub fn take_fds<const N: usize>(&mut self) -> Result<[OwnedFd; N], Refusal> {
        const { assert!(N <= MAX_FDS as usize, "a request carries at most 253 descriptors") };
        self.fds.take_all().ok_or(Refusal::WRONG_FDS)
    }

    /// Returns the request's block of shared memory, if it was lent one; see
    /// [`Call::block`](crate::Call::block).
    pub const fn block(&self) -> Option<Block<'a>> {
        self.block
    }

    /// Returns whether the request was sent to an earlier worker, where its handler did not begin
    /// or the caller allowed a repeat.
    pub const fn is_resent(&self) -> bool {
        self.header.is_resent()
    }

    /// Returns whether the request is one-way. Its reply is dropped, and a refusal is only counted.
    pub const fn is_one_way(&self) -> bool {
        matches!(self.header.kind(), Kind::OneWay)
    }

    /// Sends the finished answers of the batch now. Call it before the handler blocks. If there are
    /// any, `settle` runs first. It must do what [`Handler::settle`] does:
    /// `request.flush(|| self.settle())?`, or `|| Ok(())` if there is nothing to settle. The reply
    /// of this request is not affected. Inline, there is nothing to send.
    ///
    /// # Errors
    /// The error of `settle`. After any error the worker ends when this handler returns, as after a
    /// failed [`Handler::settle`].
    pub fn flush(&self, mut settle: impl FnMut() -> Result<(), Refusal>) -> Result<(), Refusal> {
        match self.answers.try_borrow_mut() {
            Ok(mut answers) => answers.flush(&mut settle),
            // The call came from within `settle`.
            Err(_) => Ok(()),
        }
    }

    /// Sends main a note while the handler runs, such as progress or a partial result. Main gets
    /// [`Event::Note`](crate::Event::Note) with the request's tag. The program chooses the number,
    /// below 65,534. The longest note has a quarter of `BYTES`, and never more than 65,536 bytes.
    ///
    /// The note is sent at once, before answers that wait for `settle`, and notes keep their order.
    /// While main has not taken 16 notes, or a longest note's worth of bytes, further notes are
    /// dropped. A note blocks only if the socket is full of answers that main does not receive.
    ///
    /// Returns false if the note was dropped. Main counts these in
    /// [`notes_dropped`](crate::Counters::notes_dropped).
    pub fn note(&self, number: u16, bytes: &[u8]) -> bool {
        let header = Header::note(number, self.header.id());
        self.answers.try_borrow_mut().is_ok_and(|mut answers| answers.note(header, bytes))
    }

    /// Returns whether main has given up the request. A long-running handler can then stop.
    pub fn is_cancelled(&self) -> bool {
        self.claim.as_ref().is_some_and(Claim::is_revoked)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("header", &self.header)
            .field("bytes", &self.bytes)
            .field("fds", &self.fds)
            .finish_non_exhaustive()
    }
}

/// The reply of a request. Its space is reserved before the handler runs: `BYTES / 2 - 24` bytes.
pub struct Reply<'a> {
    pub(crate) answers: Shared<'a>,
    pub(crate) len: usize,
}

impl Reply<'_> {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`Refusal::REPLY_TOO_LONG`]. Nothing is appended.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.write(|space| {
            let place = space.get_mut(..bytes.len()).ok_or(Refusal::REPLY_TOO_LONG)?;
            place.copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    /// Appends a message, which is encoded in place.
    ///
    /// # Errors
    /// [`Refusal::REPLY_TOO_LONG`] or [`Refusal::UNENCODABLE`]. Nothing is appended.
    pub fn put_message<M: Encode + ?Sized>(&mut self, message: &M) -> Result<(), Refusal> {
        self.write(|space| {
            message.encode(space).map_err(|error| match error {
                EncodeError::TooLong { .. } => Refusal::REPLY_TOO_LONG,
                _ => Refusal::UNENCODABLE,
            })
        })
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut [u8]) -> Result<usize, Refusal>,
    ) -> Result<(), Refusal> {
        let mut answers = self.answers.try_borrow_mut().map_err(|_| Refusal::UNENCODABLE)?;
        let space = answers.space().get_mut(self.len..).ok_or(Refusal::REPLY_TOO_LONG)?;
        let room = space.len();
        let len = write(space)?;
        // A message that reports a length beyond the room has a wrong `encode`.
        self.len += Some(len).filter(|&len| len <= room).ok_or(Refusal::UNENCODABLE)?;
        Ok(())
    }

    /// Adds a descriptor. The call must allow it by [`Call::reply_fds`](crate::Call::reply_fds).
    /// By default it allows none.
    ///
    /// # Errors
    /// [`Refusal::TOO_MANY_FDS`]. The descriptor is closed.
    pub fn put_fd(&mut self, fd: OwnedFd) -> Result<(), Refusal> {
        let mut answers = self.answers.try_borrow_mut().map_err(|_| Refusal::TOO_MANY_FDS)?;
        answers.fds().push(fd).map_err(|_closed| Refusal::TOO_MANY_FDS)
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("len", &self.len).finish_non_exhaustive()
    }
}
