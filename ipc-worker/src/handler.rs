//! The worker's work: what a program implements, and what it is given for each request.

use core::cell::RefCell;
use core::fmt;

use ipc_barrier::process::Reason;
use ipc_frame::{Decode, Encode, EncodeError, Header, Kind, MAX_FDS, MessageError};
use ipc_transport::Fds;
use rustix::fd::{BorrowedFd, OwnedFd};

use crate::identity::Identity;
use crate::ledger::{Block, Claim};
use crate::refusal::Refusal;

/// What runs in the worker, one request at a time, and may block.
///
/// Functions and closures are handlers; a struct is one that keeps state.
pub trait Handler {
    /// Runs once in the worker before main is told that it is ready, and again in each new one: the
    /// place to open files, and to give privileges up.
    ///
    /// # Errors
    /// A reason makes the start fail; main is told of it.
    fn prepare(&mut self) -> Result<(), Reason> {
        Ok(())
    }

    /// Answers one request: what is put into `reply` is sent if the result is `Ok`.
    ///
    /// # Errors
    /// A refusal is sent in the reply's stead; main sees it as the request's outcome.
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal>;

    /// Runs once for each batch, after its requests and before their replies are sent: the place
    /// for one fdatasync.
    ///
    /// # Errors
    /// A refusal ends the worker before the replies are sent: main sees the requests of the
    /// batch as lost (done), and the worker's exit with status 74.
    fn settle(&mut self) -> Result<(), Refusal> {
        Ok(())
    }

    /// Returns whether the method takes less than 100 µs, so that answers which are finished may wait
    /// for it. They are sent before one that is not quick. `None` leaves it to the worker, which
    /// times its runs.
    fn is_quick(&self, _method: u16) -> Option<bool> {
        None
    }

    /// Returns what the handler serves; a main that expects something else refuses the worker.
    fn identity(&self) -> Identity {
        Identity::NONE
    }

    /// Lists the descriptors that the handler holds: a forked worker keeps them open, and cuts every
    /// other one but 0, 1 and 2 off from its file.
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

    /// Lists none, so what it captures must be nothing.
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        const {
            assert!(
                size_of::<F>() == 0,
                "a forked closure may capture nothing unless it says which descriptors it holds: \
                 use Start::fork_with, or implement Handler for a struct"
            );
        }
        [].into_iter()
    }
}

/// A function or closure with the descriptors that it holds; see
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

/// The answer that a handler writes, and those before it that wait to be sent.
pub(crate) trait Answers {
    /// Room for the bytes.
    fn space(&mut self) -> &mut [u8];

    /// Room for the descriptors.
    fn fds(&mut self) -> Fds<'_>;

    /// Settles what waits by `settle`, and sends it.
    fn flush(&mut self, settle: &mut dyn FnMut() -> Result<(), Refusal>) -> Result<(), Refusal>;

    /// Sends a note, or returns false where it was dropped.
    fn note(&mut self, header: Header, bytes: &[u8]) -> bool;
}

/// Both the request and its reply reach the answers, one at a time.
pub(crate) type Shared<'a> = &'a RefCell<dyn Answers + 'a>;

/// A request as its handler sees it.
pub struct Request<'a> {
    pub(crate) header: Header,
    pub(crate) bytes: &'a [u8],
    pub(crate) fds: Fds<'a>,
    pub(crate) claim: Option<Claim<'a>>,
    pub(crate) block: Option<Block<'a>>,
    pub(crate) answers: Shared<'a>,
}

impl<'a> Request<'a> {
    /// Returns what the handler is asked to do.
    pub const fn method(&self) -> u16 {
        self.header.method()
    }

    /// Returns the bytes, the pieces joined.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads the bytes as a message, which may borrow from them.
    ///
    /// # Errors
    /// See [`MessageError`]; as a refusal it is [`Refusal::MALFORMED`].
    pub fn message<M: Decode<'a>>(&self) -> Result<M, MessageError> {
        M::decode(self.bytes)
    }

    /// Takes the next descriptor, in the caller's order, close-on-exec. Those that are left are
    /// closed after the handler.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.take_first()
    }

    /// Takes all descriptors, which must be `N`.
    ///
    /// # Errors
    /// [`Refusal::WRONG_FDS`] where they are more or fewer; none is taken then.
    pub fn take_fds<const N: usize>(&mut self) -> Result<[OwnedFd; N], Refusal> {
        const { assert!(N <= MAX_FDS as usize, "a request carries at most 253 descriptors") };
        self.fds.take_all().ok_or(Refusal::WRONG_FDS)
    }

    /// Returns the block of shared memory that the request was lent, if it was lent one: see
    /// [`Call::block`](crate::Call::block).
    pub const fn block(&self) -> Option<Block<'a>> {
        self.block
    }

    /// Returns whether the request was sent to another worker before, whose handler had not
    /// begun, or had if the caller allowed that.
    pub const fn is_resent(&self) -> bool {
        self.header.is_resent()
    }

    /// Returns whether the request is one-way: what is put into the reply is dropped, and a refusal
    /// is only counted.
    pub const fn is_one_way(&self) -> bool {
        matches!(self.header.kind(), Kind::OneWay)
    }

    /// Sends the answers that are finished, which wait to be sent together: for a handler that is
    /// about to block. `settle` is run before, where there are any; it does what the handler's
    /// [`settle`](Handler::settle) does: `request.flush(|| self.settle())?`, or `|| Ok(())` where
    /// that does nothing. What was put into the reply stays. In line, nothing waits to be sent.
    ///
    /// # Errors
    /// That of `settle`. Whatever fails here ends the worker after this handler, as a refusal of
    /// [`Handler::settle`] does.
    pub fn flush(&self, mut settle: impl FnMut() -> Result<(), Refusal>) -> Result<(), Refusal> {
        match self.answers.try_borrow_mut() {
            Ok(mut answers) => answers.flush(&mut settle),
            // From within `settle`.
            Err(_) => Ok(()),
        }
    }

    /// Sends main a note while the handler runs: progress, or a part of the result. Main is told of
    /// it by [`Event::Note`](crate::Event::Note), with the request's tag. The number is the
    /// program's own, below 65,534; the bytes are at most a quarter of a worker's `BYTES`, and never
    /// more than 65,536.
    ///
    /// It goes out at once, before answers that wait to be settled, and notes keep their order. Main
    /// takes them as it takes answers; while it has not taken 16 notes, or as many bytes as the
    /// longest may have, further ones are dropped. A note waits only where an answer would: while
    /// answers that main does not receive fill the socket.
    ///
    /// Returns false for a note that was dropped. Main counts those in
    /// [`notes_dropped`](crate::Counters::notes_dropped).
    pub fn note(&self, number: u16, bytes: &[u8]) -> bool {
        let header = Header::note(number, self.header.id());
        self.answers.try_borrow_mut().is_ok_and(|mut answers| answers.note(header, bytes))
    }

    /// Returns whether main has given the request up meanwhile: a long handler may stop then.
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

/// Room for the answer, reserved before the handler runs: `BYTES / 2 - 24` bytes of a worker's
/// `BYTES`.
pub struct Reply<'a> {
    pub(crate) answers: Shared<'a>,
    pub(crate) len: usize,
}

impl Reply<'_> {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`Refusal::REPLY_TOO_LONG`]; nothing was appended then.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.write(|space| {
            let place = space.get_mut(..bytes.len()).ok_or(Refusal::REPLY_TOO_LONG)?;
            place.copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    /// Appends a message, written in place.
    ///
    /// # Errors
    /// [`Refusal::REPLY_TOO_LONG`] or [`Refusal::UNENCODABLE`]; nothing was appended then.
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
        // A message that has written more than there is room for does not know its own length.
        self.len += Some(len).filter(|&len| len <= room).ok_or(Refusal::UNENCODABLE)?;
        Ok(())
    }

    /// Adds a descriptor. The caller has said how many a reply may bring
    /// ([`Call::reply_fds`](crate::Call::reply_fds)), none unless it did.
    ///
    /// # Errors
    /// [`Refusal::TOO_MANY_FDS`]; the descriptor is closed.
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
