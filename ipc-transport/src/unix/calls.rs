//! The calls on `AF_UNIX` sockets, and how each of the kernel's errors is handled.

use heapless::Vec;
use rustix::fd::BorrowedFd;
use rustix::fs::OFlags;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{RecvFlags, SendFlags};

use crate::contract::{Fds, MAX_FDS, Moved, PIECES, Received, SystemError, TransportError, cut};
use crate::descriptor::above_stdio;
use crate::unix::control::ControlSpace;
use crate::waiting::{Instant, Interest, Watched, wait};

/// How often an interrupted call is retried. Signals stop coming; a seccomp filter that returns
/// EINTR does not stop.
const ATTEMPTS: usize = 10_000;

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    /// It returns at once (`MSG_DONTWAIT`).
    NonBlocking = RecvFlags::DONTWAIT.bits(),
    /// It waits for room or for bytes.
    Blocking = 0,
}

/// Calls on a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Calls<'fd> {
    pub(crate) fd: BorrowedFd<'fd>,
    pub(crate) mode: Mode,
}

/// The direction of a call, and whether it has descriptors that the receiver may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Receive,
    Send,
    SendFds,
}

impl<'fd> Calls<'fd> {
    /// Sends at most `limit` bytes. Sends no empty message.
    #[inline(never)] // Several callers.
    pub(crate) fn send(self, pieces: &[&[u8]], limit: usize, fds: &[BorrowedFd<'_>]) -> Moved {
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        let flags = |mode| SendFlags::NOSIGNAL | SendFlags::from_bits_retain(mode as u32);
        if let ([piece], []) = (pieces, fds) {
            let piece = piece.get(..limit).unwrap_or(piece);
            let attempt = |fd, mode| rustix::net::send(fd, piece, flags(mode));
            return self.repeat("send", Way::Send, attempt);
        }
        let slices: Vec<_, PIECES> = cut(pieces, limit).map(IoSlice::new).collect();
        let mut control = ControlSpace::new();
        control.put(fds);
        let way = if fds.is_empty() { Way::Send } else { Way::SendFds };
        self.repeat("sendmsg", way, |fd, mode| control.send(fd, &slices, flags(mode)))
    }

    /// Receives bytes: zero at the end. The kernel drops descriptors that came with them.
    #[inline]
    pub(crate) fn receive(self, space: &mut [u8]) -> Moved<Received> {
        self.repeat("recv", Way::Receive, |fd, mode| {
            rustix::net::recv(fd, &mut *space, RecvFlags::from_bits_retain(mode as u32))
                .map(|(len, _)| Received { len, fds_truncated: false })
        })
    }

    /// Receives bytes into the slices, one after the other, and as many descriptors as fit. The
    /// length includes bytes of a packet that did not fit (`MSG_TRUNC`). It is zero at the end and
    /// for an empty packet, whose descriptors are closed.
    #[inline]
    pub(super) fn receive_with<const N: usize>(
        self,
        slices: [&mut [u8]; N],
        fds: &mut Fds<'_>,
    ) -> Moved<Received> {
        let mut control = ControlSpace::new();
        _ = control.offer(fds.room());
        let mut slices = slices.map(IoSliceMut::new);
        let packet = if N > 1 { RecvFlags::TRUNC } else { RecvFlags::empty() };
        let mut received = self.repeat("recvmsg", Way::Receive, |fd, mode| {
            let flags = RecvFlags::from_bits_retain(mode as u32) | packet | RecvFlags::CMSG_CLOEXEC;
            control.receive(fd, &mut slices, flags)
        });
        if let Ok(Some(Received { len, fds_truncated })) = &mut received {
            control.arrived(|fd| {
                let is_kept = *len > 0 && above_stdio(fd).is_ok_and(|fd| fds.push(fd).is_ok());
                *fds_truncated |= !is_kept;
            });
        }
        received
    }

    /// Repeats a call until it succeeds, would block or fails.
    #[inline]
    pub(crate) fn repeat<T>(
        mut self,
        call: &'static str,
        way: Way,
        mut attempt: impl FnMut(BorrowedFd<'fd>, Mode) -> Result<T, Errno>,
    ) -> Moved<T> {
        for _ in 0..ATTEMPTS {
            match attempt(self.fd, self.mode) {
                Ok(done) => return Ok(Some(done)),
                Err(error) => match self.settle(call, way, error)? {
                    Some(mode) => self.mode = mode,
                    None => break,
                },
            }
        }
        Ok(None)
    }

    /// Handles a failed call and returns the mode to repeat it in; `None` if it would block.
    #[inline(never)]
    fn settle(self, call: &'static str, way: Way, error: Errno) -> Moved<Mode> {
        match error {
            Errno::INTR if self.mode == Mode::NonBlocking || way != Way::Receive => {
                Ok(Some(self.mode))
            }
            Errno::AGAIN if self.mode == Mode::NonBlocking => Ok(None),
            Errno::INTR | Errno::AGAIN => self.wait_out(way, error),
            // A SOCK_SEQPACKET peer that is about to end causes ENOTCONN and ECONNREFUSED.
            Errno::PIPE
            | Errno::CONNRESET
            | Errno::NOTCONN
            | Errno::CONNREFUSED
            | Errno::SHUTDOWN => Err(TransportError::Closed),
            Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM => {
                Err(TransportError::Exhausted(SystemError::of(call)(error)))
            }
            Errno::PERM | Errno::INVAL | Errno::BADF if way == Way::SendFds => {
                Err(TransportError::FdsRefused(SystemError::of(call)(error)))
            }
            error => Err(system(call)(error)),
        }
    }

    /// Waits with poll instead of in the call, and returns the mode for the next call; `None` if
    /// the call has already waited. A call cannot wait itself if the socket is `O_NONBLOCK`, and a
    /// receive repeated after a signal would restart its whole timeout.
    fn wait_out(self, way: Way, error: Errno) -> Moved<Mode> {
        let own = rustix::fs::fcntl_getfl(self.fd).map_err(system("fcntl"))?;
        if error == Errno::AGAIN && !own.contains(OFlags::NONBLOCK) {
            return Ok(None);
        }
        let (interest, timeout) = match way {
            Way::Send | Way::SendFds => (Interest::Output, None),
            Way::Receive => (
                Interest::Input,
                socket_timeout(self.fd, Timeout::Recv).map_err(system("getsockopt SO_RCVTIMEO"))?,
            ),
        };
        let mut watched = [Watched::new(self.fd, interest)];
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        wait(&mut watched, deadline).map_err(TransportError::System)?;
        Ok(Some(if timeout.is_some() { Mode::NonBlocking } else { Mode::Blocking }))
    }
}

pub(super) fn system(call: &'static str) -> impl FnOnce(Errno) -> TransportError {
    move |error| TransportError::System(SystemError::of(call)(error))
}
