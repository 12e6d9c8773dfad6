//! The calls on `AF_UNIX` sockets, and every answer that the kernel gives to them.

use core::mem::MaybeUninit;

use rustix::cmsg_space;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{Errno, IoSliceMut, retry_on_intr};
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    Shutdown, SocketFlags, SocketType,
};

use crate::contract::{Fds, Moved, Received, SystemError, TransportError};
use crate::descriptor::above_stdio;
use crate::unix::control::{ControlSpace, MAX_FDS};
use crate::unix::options::switch_off_extras;
use crate::unix::pieces::{first, gather};
use crate::unix::socket::Mode;
use crate::waiting::{Instant, Interest, Watched, wait};

const CONTROL: usize = cmsg_space!(ScmRights(MAX_FDS));

/// A socket's descriptor.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) fd: OwnedFd,
}

/// What a receiving call came to, before stream and seqpacket part ways.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
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
    /// Calls on a new socket.
    pub(super) const fn new(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Calls on a socket that came from elsewhere.
    pub(super) fn taken_over(fd: OwnedFd) -> Self {
        switch_off_extras(fd.as_fd());
        Self::new(fd)
    }

    /// Makes two connected sockets, close-on-exec and at descriptors above 2.
    pub(super) fn pair(kind: SocketType) -> Result<(Self, Self), SystemError> {
        let flags = SocketFlags::CLOEXEC;
        let (left, right) = rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)
            .map_err(SystemError::of("socketpair"))?;
        Ok((Self::new(above_stdio(left)?), Self::new(above_stdio(right)?)))
    }

    /// Sends at most `limit` bytes, never none.
    #[inline]
    pub(super) fn send(
        &self,
        mode: Mode,
        (pieces, limit): (&[&[u8]], usize),
        fds: &[BorrowedFd<'_>],
    ) -> Moved {
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        let flags = SendFlags::NOSIGNAL
            | if mode == Mode::NonBlocking { SendFlags::DONTWAIT } else { SendFlags::empty() };
        if let ([piece], []) = (pieces, fds) {
            let piece = first(piece, limit);
            return self.sent("send", (mode, false), |fd| rustix::net::send(fd, piece, flags));
        }
        let slices = gather(pieces, limit);
        let mut space = [MaybeUninit::uninit(); CONTROL];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            // The space is made for this many.
            _ = control.push(SendAncillaryMessage::ScmRights(fds));
        }
        self.sent("sendmsg", (mode, !fds.is_empty()), |fd| {
            rustix::net::sendmsg(fd, &slices, &mut control, flags)
        })
    }

    /// Sees to all that a sending call may answer.
    #[inline]
    fn sent(
        &self,
        call: &'static str,
        (mode, with_fds): (Mode, bool),
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Moved {
        loop {
            return match retry_on_intr(|| attempt(self.fd.as_fd())) {
                Ok(0) => Ok(None),
                Ok(len) => Ok(Some(len)),
                Err(error) if self.has_not_waited(mode, error)? => {
                    self.wait(Interest::Output, None)?;
                    continue;
                }
                Err(Errno::AGAIN) => Ok(None),
                // The last two are those of a SOCK_SEQPACKET peer that is just ending.
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNREFUSED) => {
                    Err(TransportError::Closed)
                }
                Err(Errno::TOOMANYREFS) => Err(TransportError::TooManyInFlight),
                Err(Errno::PERM) if with_fds => Err(TransportError::FdsRefused),
                Err(error) => Err(system(call)(error)),
            };
        }
    }

    /// Receives bytes; descriptors that came with them are dropped by the kernel.
    #[inline]
    pub(super) fn receive(&self, mode: Mode, space: &mut [u8]) -> Result<Answer, TransportError> {
        self.received("recv", mode, |fd, flags| {
            let (len, _) = rustix::net::recv(fd, &mut *space, flags)?;
            Ok(Received { len, fds_truncated: false })
        })
    }

    /// Receives bytes into the slices, one after the other, and descriptors, as many as there is
    /// room for. The length counts bytes of a packet that found no room, too (`MSG_TRUNC`).
    #[inline]
    pub(super) fn receive_with<const N: usize>(
        &self,
        mode: Mode,
        slices: [&mut [u8]; N],
        fds: &mut Fds<'_>,
    ) -> Result<Answer, TransportError> {
        let mut space = ControlSpace::new();
        let mut control = space.control(fds.room());
        let mut slices = slices.map(IoSliceMut::new);
        let packet = if N > 1 { RecvFlags::TRUNC } else { RecvFlags::empty() };
        let mut answer = self.received("recvmsg", mode, |fd, flags| {
            let flags = flags | packet | RecvFlags::CMSG_CLOEXEC;
            let message = rustix::net::recvmsg(fd, &mut slices, &mut control, flags)?;
            let fds_truncated = message.flags.contains(ReturnFlags::CTRUNC);
            Ok(Received { len: message.bytes, fds_truncated })
        })?;
        let Answer::Bytes(received) = &mut answer else {
            // What came with an empty packet.
            space.arrived().for_each(drop);
            return Ok(answer);
        };
        for fd in space.arrived() {
            let kept = above_stdio(fd).is_ok_and(|fd| fds.push(fd).is_ok());
            received.fds_truncated |= !kept;
        }
        Ok(answer)
    }

    /// Sees to all that a receiving call may answer.
    #[inline]
    fn received(
        &self,
        call: &'static str,
        mut mode: Mode,
        mut attempt: impl FnMut(BorrowedFd<'_>, RecvFlags) -> Result<Received, Errno>,
    ) -> Result<Answer, TransportError> {
        loop {
            let flags =
                if mode == Mode::NonBlocking { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
            return match attempt(self.fd.as_fd(), flags) {
                Ok(Received { len: 0, .. }) => Ok(Answer::Empty),
                Ok(received) => Ok(Answer::Bytes(received)),
                Err(Errno::CONNRESET) => Ok(Answer::Reset),
                Err(Errno::INTR) if mode == Mode::NonBlocking => continue,
                Err(error) if error == Errno::INTR || self.has_not_waited(mode, error)? => {
                    mode = self.wait_out()?;
                    continue;
                }
                Err(Errno::AGAIN) => Ok(Answer::Nothing),
                Err(Errno::NOTCONN | Errno::CONNREFUSED) => Err(TransportError::Closed),
                Err(error) => Err(system(call)(error)),
            };
        }
    }

    /// Returns whether a call that may wait has not, since the socket's own mode is `O_NONBLOCK`.
    fn has_not_waited(&self, mode: Mode, error: Errno) -> Result<bool, TransportError> {
        if mode == Mode::NonBlocking || error != Errno::AGAIN {
            return Ok(false);
        }
        let own = rustix::fs::fcntl_getfl(&self.fd).map_err(system("fcntl"))?;
        Ok(own.contains(OFlags::NONBLOCK))
    }

    /// Waits for input in the place of a receive, for as long as that may wait: made again after a
    /// signal, it would begin its whole timeout anew. Returns how to receive then.
    fn wait_out(&self) -> Result<Mode, TransportError> {
        let timeout = socket_timeout(&self.fd, Timeout::Recv);
        let timeout = timeout.map_err(system("getsockopt SO_RCVTIMEO"))?;
        self.wait(Interest::Input, timeout.map(|timeout| Instant::now() + timeout))?;
        Ok(timeout.map_or(Mode::Blocking, |_| Mode::NonBlocking))
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> Result<(), TransportError> {
        let mut watched = [Watched::new(self.fd.as_fd(), interest)];
        wait(&mut watched, deadline).map(|_| ()).map_err(TransportError::System)
    }
}

pub(super) fn system(call: &'static str) -> impl FnOnce(Errno) -> TransportError {
    move |error| TransportError::System(SystemError::of(call)(error))
}

pub(super) fn close_sending(fd: BorrowedFd<'_>) -> Result<(), SystemError> {
    rustix::net::shutdown(fd, Shutdown::Write).map_err(SystemError::of("shutdown"))
}
