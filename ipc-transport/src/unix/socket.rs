//! The calls on sockets of the family `AF_UNIX`, and all that the kernel may answer to them.

use core::mem::MaybeUninit;

use heapless::{Vec, VecView};
use rustix::cmsg_space;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};

use crate::contract::errno::SystemError;
use crate::contract::pass_fds::Received;
use crate::contract::transport::TransportError;
use crate::descriptor::above_stdio;
use crate::waiting::clock::Instant;
use crate::waiting::patience::Patience;
use crate::waiting::wait::{Interest, Waiter, Watched};

/// Most pieces that one system call takes; what is beyond them is left for the next.
const PIECES: usize = 16;
const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;
const CONTROL: usize = cmsg_space!(ScmRights(MAX_FDS));

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It answers at once (`MSG_DONTWAIT`).
    Now,
    /// It waits in the kernel for room or for bytes.
    Wait,
}

/// A kind of `AF_UNIX` socket that carries bytes and descriptors: [`Stream`](crate::Stream) or
/// [`Seqpacket`](crate::Seqpacket). No other crate can add one.
pub trait Socket: AsFd + From<OwnedFd> {
    /// The kind, as socket(2) names it.
    #[doc(hidden)]
    const KIND: SocketType;

    /// Sends as [`PassFds::send_with`](crate::PassFds::send_with) does.
    #[doc(hidden)]
    fn send_at(
        &mut self,
        pace: Pace,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError>;

    /// Receives as [`PassFds::receive_with`](crate::PassFds::receive_with) does, and without a
    /// list as [`Transport::receive`](crate::Transport::receive).
    #[doc(hidden)]
    fn receive_at(
        &mut self,
        pace: Pace,
        space: &mut [u8],
        fds: Option<&mut VecView<OwnedFd>>,
    ) -> Result<Option<Received>, TransportError>;
}

/// A socket's descriptor, and how many of its calls a signal has interrupted.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) fd: OwnedFd,
    pub(crate) interruptions: u64,
}

/// What a receiving call came to, before stream and seqpacket part ways.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Bytes, and with MSG_TRUNC possibly more of them than there was room for.
    Bytes(Received),
    /// No byte: the end, or an empty packet.
    Empty,
    /// The peer left bytes of ours unread when it ended.
    Reset,
    /// Would block.
    Nothing,
}

impl Calls {
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self { fd, interruptions: 0 }
    }

    /// Makes two connected sockets, close-on-exec and at descriptors above 2.
    pub(crate) fn pair(kind: SocketType) -> Result<(OwnedFd, OwnedFd), SystemError> {
        let flags = SocketFlags::CLOEXEC;
        let (left, right) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)
            .map_err(SystemError::of("socketpair"))?;
        Ok((above_stdio(left)?, above_stdio(right)?))
    }

    /// Sends at most `limit` bytes, never none.
    #[inline]
    pub(crate) fn send(
        &mut self,
        pace: Pace,
        (pieces, limit): (&[&[u8]], usize),
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        let flags = SendFlags::NOSIGNAL
            | if pace == Pace::Now { SendFlags::DONTWAIT } else { SendFlags::empty() };
        if let ([piece], []) = (pieces, fds) {
            let piece = first(piece, limit);
            return self.sent("send", false, |fd| rustix::net::send(fd, piece, flags));
        }
        let slices = gather(pieces, limit);
        let mut space = [MaybeUninit::uninit(); CONTROL];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            // The space is made for this many.
            _ = control.push(SendAncillaryMessage::ScmRights(fds));
        }
        self.sent("sendmsg", !fds.is_empty(), |fd| {
            rustix::net::sendmsg(fd, &slices, &mut control, flags)
        })
    }

    /// Sees to all that a sending call may answer.
    #[inline]
    fn sent(
        &mut self,
        call: &'static str,
        with_fds: bool,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Result<Option<usize>, TransportError> {
        loop {
            return match attempt(self.fd.as_fd()) {
                Ok(0) => Ok(None),
                Ok(len) => Ok(Some(len)),
                Err(Errno::INTR) => {
                    self.interruptions += 1;
                    continue;
                }
                Err(Errno::AGAIN) => Ok(None),
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(TransportError::Closed),
                Err(Errno::TOOMANYREFS) => Err(TransportError::TooManyInFlight),
                Err(Errno::PERM) if with_fds => Err(TransportError::FdsRefused),
                Err(error) => Err(TransportError::System(SystemError::of(call)(error))),
            };
        }
    }

    /// Receives bytes; descriptors that came with them are dropped by the kernel.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        pace: Pace,
        space: &mut [u8],
    ) -> Result<Answer, TransportError> {
        self.received("recv", pace, |fd, flags| {
            let (len, _) = rustix::net::recv(fd, &mut *space, flags)?;
            Ok(Received { len, fds_truncated: false })
        })
    }

    /// Receives bytes into the slices, one after the other, and their descriptors into the list.
    /// The length counts bytes of a packet that found no room, too (`MSG_TRUNC`).
    #[inline]
    pub(crate) fn receive_with<const N: usize>(
        &mut self,
        pace: Pace,
        slices: [&mut [u8]; N],
        fds: Option<&mut VecView<OwnedFd>>,
    ) -> Result<Answer, TransportError> {
        // For as many as one message carries: with less room the kernel would drop some.
        let mut space = [MaybeUninit::uninit(); CONTROL];
        let mut control = match fds {
            Some(_) => RecvAncillaryBuffer::new(&mut space),
            None => RecvAncillaryBuffer::default(),
        };
        let mut slices = slices.map(IoSliceMut::new);
        let packet = if N > 1 { RecvFlags::TRUNC } else { RecvFlags::empty() };
        let answer = self.received("recvmsg", pace, |fd, flags| {
            let flags = flags | packet | RecvFlags::CMSG_CLOEXEC;
            let message = rustix::net::recvmsg(fd, &mut slices, &mut control, flags)?;
            let fds_truncated = message.flags.contains(ReturnFlags::CTRUNC);
            Ok(Received { len: message.bytes, fds_truncated })
        })?;
        let (Answer::Bytes(mut received), Some(fds)) = (answer, fds) else {
            // Dropping the control messages closes what came with an empty packet.
            return Ok(answer);
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(arrived) = message {
                for fd in arrived {
                    // What the list cannot hold is dropped, and so closed.
                    let kept = above_stdio(fd).is_ok_and(|fd| fds.push(fd).is_ok());
                    received.fds_truncated |= !kept;
                }
            }
        }
        Ok(Answer::Bytes(received))
    }

    /// Sees to all that a receiving call may answer.
    #[inline]
    fn received(
        &mut self,
        call: &'static str,
        mut pace: Pace,
        mut attempt: impl FnMut(BorrowedFd<'_>, RecvFlags) -> Result<Received, Errno>,
    ) -> Result<Answer, TransportError> {
        loop {
            let flags = if pace == Pace::Now { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
            return match attempt(self.fd.as_fd(), flags) {
                Ok(Received { len: 0, .. }) => Ok(Answer::Empty),
                Ok(received) => Ok(Answer::Bytes(received)),
                Err(Errno::CONNRESET) => Ok(Answer::Reset),
                Err(Errno::INTR) => {
                    self.interruptions += 1;
                    if pace == Pace::Wait && self.wait_out()? {
                        pace = Pace::Now;
                    }
                    continue;
                }
                Err(Errno::AGAIN) => Ok(Answer::Nothing),
                Err(error) => Err(TransportError::System(SystemError::of(call)(error))),
            };
        }
    }

    /// Waits in the place of a receive that a signal has interrupted: made again, it would begin
    /// its whole time-out anew, and signals could prolong it for ever. Answers false where it has
    /// none.
    fn wait_out(&mut self) -> Result<bool, TransportError> {
        let timeout = socket_timeout(&self.fd, Timeout::Recv)
            .map_err(SystemError::of("getsockopt SO_RCVTIMEO"))
            .map_err(TransportError::System)?;
        let Some(timeout) = timeout else {
            return Ok(false);
        };
        let deadline = Some(Instant::now() + timeout);
        let mut waiter = Waiter::new(Patience::SLEEP);
        let mut watched = [Watched::new(self.fd.as_fd(), Interest::Input)];
        let waited = waiter.wait(&mut watched, deadline);
        self.interruptions += waiter.interruptions();
        waited.map(|_| true).map_err(TransportError::System)
    }
}

pub(crate) fn close_sending(fd: BorrowedFd<'_>) -> Result<(), SystemError> {
    rustix::net::shutdown(fd, Shutdown::Write).map_err(SystemError::of("shutdown"))
}

/// Collects what one call takes of the pieces: at most `limit` bytes.
pub(crate) fn gather<'a>(pieces: &[&'a [u8]], limit: usize) -> Vec<IoSlice<'a>, PIECES> {
    let mut rest = limit;
    let pieces = pieces.iter().filter(|piece| !piece.is_empty()).take(PIECES);
    let cut = pieces.map_while(|piece| {
        let piece = first(piece, rest);
        rest -= piece.len();
        (!piece.is_empty()).then(|| IoSlice::new(piece))
    });
    cut.collect()
}

fn first(piece: &[u8], limit: usize) -> &[u8] {
    piece.get(..limit).unwrap_or(piece)
}
