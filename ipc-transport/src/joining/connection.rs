//! A connection between two programs: an exchange of hellos with limits, then typed frames.

use ipc_frame::{Encode, FrameNumber, Header, Kind, PushError};

use crate::contract::{PassFds, Transport, TransportError};
use crate::descriptor::duplicate;
use crate::fd::BorrowedFd;
use crate::joining::inbox::{Arrival, Arrived, Inbox};
use crate::joining::outbox::{Flushed, Outbox};

mod errors;
mod hello;
#[cfg(feature = "socket")]
mod until;

pub use errors::{ConnectionError, SendError};
use hello::FORMAT;
pub use hello::Hello;

/// A connection between two separately started programs.
///
/// Each side first sends a [`Hello`]: its service and version, the longest frame it accepts, and
/// the most descriptors it accepts with a frame. Frames follow once both agree. A frame over the
/// peer's limits is refused before any byte of it is sent.
///
/// A program that may block uses the calls that end in `_until`. An event loop calls
/// [`try_receive`](Self::try_receive) until it returns `None`. It watches the descriptor for input,
/// and also for room while [`wants_output`](Self::wants_output) is true. To reconnect, create a new
/// connection.
///
/// One of the two sides may stop receiving while `wants_output` is true, and then watches for room
/// only. The other side must always receive, or both may wait for each other. `send_until` does not
/// receive: on that other side, call it only if no reply is outstanding.
///
/// `BYTES` is the longest frame each way, including its header of 24 bytes. Up to `FRAMES` outgoing
/// frames are kept until the transport takes them. It never allocates, and no input from the peer
/// makes it panic.
///
/// ```
/// # #[cfg(feature = "socket")] {
/// # use ipc_frame::{Encode, EncodeError};
/// # struct Bytes(&'static [u8]);
/// # impl Encode for Bytes {
/// #     fn encoded_len(&self) -> Result<usize, EncodeError> { Ok(self.0.len()) }
/// #     fn encode(&self, space: &mut [u8]) -> Result<usize, EncodeError> {
/// #         space[..self.0.len()].copy_from_slice(self.0);
/// #         Ok(self.0.len())
/// #     }
/// # }
/// use std::{os::fd::AsFd, time::Duration};
///
/// use ipc_frame::Header;
/// use ipc_transport::{Connection, Hello, Instant, Stream};
///
/// const HELLO: Hello = Hello::new("spool", 1).fds(1);
/// let soon = Instant::now() + Duration::from_secs(5);
///
/// let (left, right) = Stream::pair()?; // two programs: `connect` and `Listener`
/// let other = std::thread::spawn(move || {
///     let mut right = Connection::<_, 4096>::new(right, HELLO);
///     let (header, mut got) = right.receive_until(soon)?;
///     assert_eq!((header.id(), got.payload), (7, &b"print this"[..]));
///     assert!(got.fds.take_first().is_some());
///     Ok::<_, ipc_transport::ConnectionError>(())
/// });
///
/// let mut left = Connection::<_, 4096>::new(left, HELLO);
/// let file = std::fs::File::open("/dev/null")?;
/// left.send_until(Header::request(1, 7), &Bytes(b"print this"), &[file.as_fd()], soon)?;
/// # other.join().unwrap()?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Connection<T, const BYTES: usize = 4096, const FRAMES: usize = 16> {
    transport: T,
    inbox: Inbox<BYTES>,
    outbox: Outbox<BYTES, FRAMES>,
    means: Means<T, BYTES, FRAMES>,
    ours: Hello,
    /// The peer's hello, once it has arrived and agrees with ours.
    theirs: Option<Hello>,
    /// The final error, if the connection has failed.
    failed: Option<ConnectionError>,
    /// The peer no longer receives.
    is_deaf: bool,
}

/// How to move frames over the transport: with descriptors or without.
#[derive(Debug)]
struct Means<T, const BYTES: usize, const FRAMES: usize> {
    receive: fn(&mut Inbox<BYTES>, &mut T, usize) -> Result<Arrived, TransportError>,
    flush: fn(&mut Outbox<BYTES, FRAMES>, &mut T) -> Result<Flushed, TransportError>,
    takes_fds: bool,
}

impl<T, const BYTES: usize, const FRAMES: usize> Connection<T, BYTES, FRAMES> {
    /// Creates a connection over a transport that carries descriptors. Sends nothing yet.
    pub fn new(transport: T, hello: Hello) -> Self
    where
        T: PassFds,
    {
        let means = Means {
            receive: |inbox, transport, room| inbox.receive_with(transport, room),
            flush: |outbox, transport| outbox.flush_with(transport),
            takes_fds: true,
        };
        Self::over(transport, hello, means)
    }

    /// Creates a connection over any transport, without descriptors. Sends nothing yet.
    pub fn without_fds(transport: T, hello: Hello) -> Self
    where
        T: Transport,
    {
        let means = Means {
            receive: |inbox, transport, _| inbox.receive(transport),
            flush: |outbox, transport| outbox.flush(transport),
            takes_fds: false,
        };
        Self::over(transport, hello.fds(0), means)
    }

    fn over(transport: T, hello: Hello, means: Means<T, BYTES, FRAMES>) -> Self {
        const { assert!(BYTES >= hello::LONGEST && FRAMES > 0, "a hello fits in 74 bytes") };
        // The queue's constructor checks that its capacity fits in 31 bits.
        let ours = Hello { bytes: u32::try_from(BYTES).unwrap_or(u32::MAX), ..hello };
        let (inbox, mut outbox) = (Inbox::new(), Outbox::new());
        // It is the first frame, and fits.
        _ = ours.encode(|pieces| outbox.push(Header::ready(), pieces));
        let (theirs, failed, is_deaf) = (None, None, false);
        Self { transport, inbox, outbox, means, ours, theirs, failed, is_deaf }
    }

    /// Returns the transport, to ask who the peer is.
    pub const fn transport(&self) -> &T {
        &self.transport
    }

    /// Returns whether anything is queued. If so, watch the descriptor for room, too.
    pub const fn wants_output(&self) -> bool {
        self.outbox.queue.has_unsent()
    }

    /// Sends this side's hello, and returns the peer's once it has arrived. The other calls do this
    /// first.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub fn try_open(&mut self) -> Result<Option<Hello>, ConnectionError> {
        self.after_sending(Self::open)
    }

    /// Receives the peer's hello, unless it has arrived.
    fn open(&mut self) -> Result<Option<Hello>, ConnectionError> {
        while self.theirs.is_none() {
            match self.advance()? {
                Some(header) if header.kind() == Kind::Ready => {
                    let theirs = agree(&self.ours, self.inbox.current().payload);
                    self.theirs = Some(theirs.map_err(|error| self.fail(error))?);
                }
                Some(header) => {
                    return Err(self.fail(ConnectionError::OutOfPlace { kind: header.kind() }));
                }
                None if self.fill()? => {}
                None => break,
            }
        }
        Ok(self.theirs)
    }

    /// Sends what is queued and returns the next frame. `None` if no complete frame has arrived:
    /// wait for input.
    ///
    /// A flooding peer can keep this from ever returning `None`: take a bounded number of frames in
    /// each turn of an event loop.
    ///
    /// # Errors
    /// See [`ConnectionError`]. Frames that came before a fault or the end are given first.
    pub fn try_receive(&mut self) -> Result<Option<(Header, Arrival<'_>)>, ConnectionError> {
        let header = self.try_advance()?;
        Ok(header.map(|header| (header, self.inbox.current())))
    }

    /// Sends what is queued, and moves to the next frame, receiving if needed.
    fn try_advance(&mut self) -> Result<Option<Header>, ConnectionError> {
        self.after_sending(Self::receive)
    }

    /// Moves to the next frame, receiving if needed.
    fn receive(&mut self) -> Result<Option<Header>, ConnectionError> {
        if self.open()?.is_none() {
            return Ok(None);
        }
        loop {
            if let Some(header) = self.advance()? {
                let (kind, count, limit) = (header.kind(), header.fd_count(), self.ours.fds);
                if matches!(kind, Kind::Ready | Kind::Failed) {
                    return Err(self.fail(ConnectionError::OutOfPlace { kind }));
                }
                if count > limit {
                    return Err(self.fail(ConnectionError::FdsNotAllowed { count, limit }));
                }
                return Ok(Some(header));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Queues a frame with duplicates of the descriptors, and sends as much as the transport takes.
    /// Later calls send the rest, and report temporary errors of the transport.
    ///
    /// # Errors
    /// See [`SendError`]. The frame is not queued, and no byte of it was sent.
    pub fn try_send(
        &mut self,
        header: Header,
        message: &impl Encode,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SendError> {
        self.queue(header, message, fds).map(|_| ())
    }

    /// Queues a frame, sends as much as the transport takes, and returns the frame's number.
    fn queue(
        &mut self,
        header: Header,
        message: &impl Encode,
        fds: &[BorrowedFd<'_>],
    ) -> Result<FrameNumber, SendError> {
        self.make_room()?;
        let theirs = self.theirs.ok_or(SendError::NotOpen)?;
        let kind = header.kind();
        if matches!(kind, Kind::Ready | Kind::Failed) {
            return Err(SendError::OutOfPlace { kind });
        }
        let (count, limit) = (fds.len(), if self.means.takes_fds { theirs.fds } else { 0 });
        if count > limit.into() {
            return Err(PushError::TooManyFds { count, limit }.into());
        }
        let len = message.encoded_len()?;
        let longest = theirs.longest_payload().unwrap_or(0);
        let capacity = longest.min(Outbox::<BYTES, FRAMES>::CAPACITY);
        if len > capacity {
            return Err(PushError::TooLong { len, capacity }.into());
        }
        let mut room = self.outbox.reserve(len, count)?;
        for fd in fds {
            let copy = duplicate(*fd).map_err(SendError::NoFd)?;
            // There is room for all.
            _ = room.fds().push(copy);
        }
        let written = message.encode(room.payload())?;
        let number = room.commit(header, written)?;
        self.make_room().map_err(|error| self.take_back(number, error))?;
        Ok(number)
    }

    /// Drops the frame if the kernel refused its descriptors or those of an earlier one, so that
    /// nothing of it is sent.
    fn take_back(&mut self, number: FrameNumber, error: ConnectionError) -> SendError {
        if let ConnectionError::Transport(TransportError::FdsRefused(_)) = error {
            self.outbox.retire(number);
        }
        error.into()
    }

    /// Sends what is queued, as much as the transport takes. Returns whether nothing is left.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub fn flush(&mut self) -> Result<bool, ConnectionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.is_deaf {
            return Err(ConnectionError::Closed);
        }
        let flushed = (self.means.flush)(&mut self.outbox, &mut self.transport);
        match flushed {
            Err(TransportError::Closed) => {
                self.is_deaf = true;
                self.outbox.discard_unsent();
            }
            Err(TransportError::FdsRefused(_)) => {
                // The kernel will never pass these descriptors, and the frame would block all later
                // ones.
                let refused = self.outbox.next_unsent().map(|(number, _)| number);
                refused.into_iter().for_each(|number| self.outbox.retire(number));
            }
            _ => {}
        }
        self.outbox.retire_sent();
        Ok(flushed?.complete)
    }

    /// Sends what is queued, then receives. An error of sending is returned only if nothing came: a
    /// shortage may last until this side receives.
    fn after_sending<R>(
        &mut self,
        receive: fn(&mut Self) -> Result<Option<R>, ConnectionError>,
    ) -> Result<Option<R>, ConnectionError> {
        let trouble = match self.make_room() {
            // First receive what the peer sent before it ended.
            Err(ConnectionError::Closed) => None,
            sent => sent?,
        };
        match (receive(self)?, trouble) {
            (None, Some(error)) => Err(error),
            (received, _) => Ok(received),
        }
    }

    /// Sends what is queued. Returns the error that may be temporary.
    fn make_room(&mut self) -> Result<Option<ConnectionError>, ConnectionError> {
        match self.flush() {
            Err(error @ ConnectionError::Transport(cause))
                if !matches!(cause, TransportError::FdsRefused(_)) =>
            {
                Ok(Some(error))
            }
            flushed => flushed.map(|_| None),
        }
    }

    /// Moves to the next frame that has arrived.
    fn advance(&mut self) -> Result<Option<Header>, ConnectionError> {
        match self.failed {
            Some(error) => Err(error),
            None => self.inbox.advance().map_err(|error| self.fail(ConnectionError::Frames(error))),
        }
    }

    /// Receives once. Returns whether anything came.
    fn fill(&mut self) -> Result<bool, ConnectionError> {
        let room = self.ours.fds.into();
        let arrived = (self.means.receive)(&mut self.inbox, &mut self.transport, room)?;
        Ok(matches!(arrived, Arrived::Bytes(_)))
    }

    fn fail(&mut self, error: ConnectionError) -> ConnectionError {
        *self.failed.insert(error)
    }
}

/// Reads the peer's hello and compares it with ours. The format comes first, since the rest can
/// only be read if the formats match.
fn agree(ours: &Hello, payload: &[u8]) -> Result<Hello, ConnectionError> {
    let (format, rest) = payload.split_first_chunk().ok_or(ConnectionError::Malformed)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(ConnectionError::OtherFormat { ours: FORMAT, theirs: format });
    }
    let theirs = Hello::decode(rest).ok_or(ConnectionError::Malformed)?;
    if (theirs.service, theirs.version) != (ours.service, ours.version) {
        return Err(ConnectionError::OtherService { ours: *ours, theirs });
    }
    Ok(theirs)
}

#[cfg(feature = "socket")]
impl<T: crate::fd::AsFd, const BYTES: usize, const FRAMES: usize> crate::fd::AsFd
    for Connection<T, BYTES, FRAMES>
{
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

#[cfg(test)]
mod tests;
