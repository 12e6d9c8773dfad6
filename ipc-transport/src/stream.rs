//! The stream socketpair: bytes in order, and descriptors beside them.

use core::mem::MaybeUninit;
use core::time::Duration;

use heapless::{Vec, VecView};
use rustix::cmsg_space;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType,
};

use crate::clock::Instant;
use crate::descriptor::above_stdio;
use crate::errno::SystemError;
use crate::pass_fds::{PassFds, Received};
use crate::transport::{Transport, TransportError};
use crate::wait::{Interest, Watched, wait};

/// Most pieces that one system call takes; what is beyond them is left for the next.
const PIECES: usize = 16;
const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;
const CONTROL: usize = cmsg_space!(ScmRights(MAX_FDS));

/// One end of a stream socket of the family `AF_UNIX` (unix(7)).
///
/// Every call asks not to wait by `MSG_DONTWAIT`; the socket's own mode, which another process
/// may share, is never changed. [`blocking`](Self::blocking) gives a view whose calls wait.
#[doc(alias = "socketpair")]
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
}

impl Stream {
    /// Makes two connected ends, close-on-exec and at descriptors above 2.
    ///
    /// # Errors
    /// `EMFILE` and `ENFILE`; see socketpair(2).
    pub fn pair() -> Result<(Self, Self), SystemError> {
        let (left, right) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(SystemError::of("socketpair"))?;
        Ok((Self { fd: above_stdio(left)? }, Self { fd: above_stdio(right)? }))
    }

    /// Returns a view on the same socket whose calls wait for room and for bytes.
    pub fn blocking(&mut self) -> Blocking<'_> {
        Blocking { fd: self.fd.as_fd() }
    }

    /// Bounds how long a [`blocking`](Self::blocking) receive waits (`SO_RCVTIMEO`, socket(7)).
    /// Set once, it costs nothing later; the kernel rounds up to its tick.
    ///
    /// # Errors
    /// `EINVAL` for no time at all, `EDOM` for one out of range.
    pub fn set_receive_timeout(&mut self, timeout: Duration) -> Result<(), SystemError> {
        set_socket_timeout(&self.fd, Timeout::Recv, Some(timeout))
            .map_err(SystemError::of("setsockopt SO_RCVTIMEO"))
    }

    /// Ends the sending direction: the peer receives what is under way and then
    /// [`TransportError::Closed`]. Receiving goes on.
    ///
    /// # Errors
    /// `ENOTCONN` where the peer is gone already.
    pub fn close_sending(&mut self) -> Result<(), SystemError> {
        rustix::net::shutdown(&self.fd, Shutdown::Write).map_err(SystemError::of("shutdown"))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Stream {
    /// Takes over a connected stream socket that came from elsewhere.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl Transport for Stream {
    #[inline]
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        send(self.fd.as_fd(), pieces, SendFlags::DONTWAIT)
    }

    #[inline]
    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        receive(self.fd.as_fd(), space, RecvFlags::DONTWAIT)
    }
}

impl PassFds for Stream {
    #[inline]
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        send_with(self.fd.as_fd(), pieces, fds, SendFlags::DONTWAIT)
    }

    #[inline]
    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<Option<Received>, TransportError> {
        receive_with(self.fd.as_fd(), space, fds, RecvFlags::DONTWAIT)
    }
}

/// A view of a [`Stream`] whose calls wait: sending for room without end, receiving for bytes
/// at most as long as [`Stream::set_receive_timeout`] says. `Ok(None)` from receiving means that
/// this time is over; where a signal came meanwhile, it may have been up to twice as long.
#[derive(Debug)]
pub struct Blocking<'a> {
    fd: BorrowedFd<'a>,
}

impl Transport for Blocking<'_> {
    #[inline]
    fn send(&mut self, pieces: &[&[u8]]) -> Result<Option<usize>, TransportError> {
        send(self.fd, pieces, SendFlags::empty())
    }

    #[inline]
    fn receive(&mut self, space: &mut [u8]) -> Result<Option<usize>, TransportError> {
        receive(self.fd, space, RecvFlags::empty())
    }
}

impl PassFds for Blocking<'_> {
    #[inline]
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        send_with(self.fd, pieces, fds, SendFlags::empty())
    }

    #[inline]
    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<Option<Received>, TransportError> {
        receive_with(self.fd, space, fds, RecvFlags::empty())
    }
}

#[inline]
fn send(
    fd: BorrowedFd<'_>,
    pieces: &[&[u8]],
    flags: SendFlags,
) -> Result<Option<usize>, TransportError> {
    match pieces {
        [] => Ok(None),
        [piece] => {
            sent("send", false, || rustix::net::send(fd, piece, flags | SendFlags::NOSIGNAL))
        }
        _ => send_with(fd, pieces, &[], flags),
    }
}

#[inline]
fn send_with(
    fd: BorrowedFd<'_>,
    pieces: &[&[u8]],
    fds: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> Result<Option<usize>, TransportError> {
    if fds.len() > MAX_FDS {
        return Err(TransportError::TooManyFds { count: fds.len() });
    }
    if pieces.iter().all(|piece| piece.is_empty()) {
        return Ok(None);
    }
    let pieces = pieces.iter().filter(|piece| !piece.is_empty());
    let slices: Vec<IoSlice<'_>, PIECES> =
        pieces.take(PIECES).map(|piece| IoSlice::new(piece)).collect();
    let mut space = [MaybeUninit::uninit(); CONTROL];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        // The space is made for this many.
        _ = control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let flags = flags | SendFlags::NOSIGNAL;
    sent("sendmsg", !fds.is_empty(), || rustix::net::sendmsg(fd, &slices, &mut control, flags))
}

/// Sees to all that a sending call may answer.
#[inline]
fn sent(
    call: &'static str,
    with_fds: bool,
    mut attempt: impl FnMut() -> Result<usize, Errno>,
) -> Result<Option<usize>, TransportError> {
    loop {
        return match attempt() {
            Ok(0) => Ok(None),
            Ok(len) => Ok(Some(len)),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Ok(None),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(TransportError::Closed),
            Err(Errno::TOOMANYREFS) => Err(TransportError::TooManyInFlight),
            Err(Errno::PERM) if with_fds => Err(TransportError::FdsRefused),
            Err(error) => Err(TransportError::System(SystemError::of(call)(error))),
        };
    }
}

#[inline]
fn receive(
    fd: BorrowedFd<'_>,
    space: &mut [u8],
    flags: RecvFlags,
) -> Result<Option<usize>, TransportError> {
    if space.is_empty() {
        return Ok(None);
    }
    received((fd, "recv"), flags, |flags| {
        rustix::net::recv(fd, &mut *space, flags).map(|(len, _)| (len, len))
    })
}

#[inline]
fn receive_with(
    fd: BorrowedFd<'_>,
    space: &mut [u8],
    fds: &mut VecView<OwnedFd>,
    flags: RecvFlags,
) -> Result<Option<Received>, TransportError> {
    if space.is_empty() {
        return Ok(None);
    }
    // For as many as one message carries: with less room the kernel would drop some.
    let mut control_space = [MaybeUninit::uninit(); CONTROL];
    let mut control = RecvAncillaryBuffer::new(&mut control_space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let answer = received((fd, "recvmsg"), flags, |flags| {
        let mut slices = [IoSliceMut::new(space)];
        let message = rustix::net::recvmsg(fd, &mut slices, &mut control, flags)?;
        Ok((message.bytes, message))
    })?;
    let Some(message) = answer else {
        return Ok(None);
    };
    let mut fds_truncated = message.flags.contains(ReturnFlags::CTRUNC);
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            for fd in arrived {
                // What the list cannot hold is dropped, and so closed.
                let kept = above_stdio(fd).is_ok_and(|fd| fds.push(fd).is_ok());
                fds_truncated |= !kept;
            }
        }
    }
    Ok(Some(Received { len: message.bytes, fds_truncated }))
}

/// Sees to all that a receiving call may answer; `attempt` gives the bytes and the result.
#[inline]
fn received<T>(
    (fd, call): (BorrowedFd<'_>, &'static str),
    mut flags: RecvFlags,
    mut attempt: impl FnMut(RecvFlags) -> Result<(usize, T), Errno>,
) -> Result<Option<T>, TransportError> {
    loop {
        return match attempt(flags) {
            // The kernel gives all data first, then ECONNRESET where the peer left some of ours
            // unread, then the end.
            Ok((0, _)) | Err(Errno::CONNRESET) => Err(TransportError::Closed),
            Ok((_, answer)) => Ok(Some(answer)),
            Err(Errno::INTR) => {
                if !flags.contains(RecvFlags::DONTWAIT) && wait_out(fd)? {
                    flags |= RecvFlags::DONTWAIT;
                }
                continue;
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(TransportError::System(SystemError::of(call)(error))),
        };
    }
}

/// Waits in the place of a receive that a signal has interrupted: made again, it would begin its
/// whole time-out anew, and signals could prolong it for ever. Answers false where it has none.
fn wait_out(fd: BorrowedFd<'_>) -> Result<bool, TransportError> {
    let timeout = socket_timeout(fd, Timeout::Recv)
        .map_err(SystemError::of("getsockopt SO_RCVTIMEO"))
        .map_err(TransportError::System)?;
    let Some(timeout) = timeout else {
        return Ok(false);
    };
    let deadline = Some(Instant::now() + timeout);
    wait(&mut [Watched::new(fd, Interest::Input)], deadline).map_err(TransportError::System)?;
    Ok(true)
}
