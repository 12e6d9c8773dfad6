//! A view of a socket whose calls wait.

use core::time::Duration;

use rustix::fd::BorrowedFd;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::contract::{FdList, Fds, Moved, PassFds, Received, SystemError, Transport};
use crate::unix::socket::{Mode, Socket};
use crate::waiting::{Instant, Patience};

/// A view of a [`Stream`](crate::Stream) or [`Seqpacket`](crate::Seqpacket) whose calls wait:
/// sending for room without end, receiving for bytes at most as long as `set_receive_timeout`
/// says. `Ok(None)` from receiving means that this time is over; where a signal came meanwhile,
/// it may have been up to twice as long.
#[derive(Debug)]
pub struct Blocking<'a, S> {
    socket: &'a mut S,
    patience: Patience,
}

impl<'a, S: Socket> Blocking<'a, S> {
    pub(crate) const fn new(socket: &'a mut S) -> Self {
        Self { socket, patience: Patience::SLEEP }
    }

    /// Lets receiving look for a while before it sleeps. That time comes before the one of
    /// `set_receive_timeout`.
    #[must_use]
    pub const fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    #[inline]
    fn receive_patiently(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if !self.patience.spin.is_zero() {
            let end = Instant::now() + self.patience.spin;
            loop {
                let answer = self.socket.receive_as(Mode::NonBlocking, space, fds)?;
                if answer.is_some() {
                    return Ok(answer);
                }
                if Instant::now() >= end {
                    break;
                }
                core::hint::spin_loop();
            }
        }
        self.socket.receive_as(Mode::Blocking, space, fds)
    }
}

impl<S: Socket> Transport for Blocking<'_, S> {
    #[inline]
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        self.socket.send_as(Mode::Blocking, pieces, &[])
    }

    #[inline]
    fn receive(&mut self, space: &mut [u8]) -> Moved {
        Ok(self
            .receive_patiently(space, &mut FdList::<0>::new().fds())?
            .map(|received| received.len))
    }
}

impl<S: Socket> PassFds for Blocking<'_, S> {
    #[inline]
    fn send_with(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.socket.send_as(Mode::Blocking, pieces, fds)
    }

    #[inline]
    fn receive_with(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        self.receive_patiently(space, fds)
    }
}

pub(crate) fn set_receive_timeout(
    fd: BorrowedFd<'_>,
    timeout: Duration,
) -> Result<(), SystemError> {
    set_socket_timeout(fd, Timeout::Recv, Some(timeout))
        .map_err(SystemError::of("setsockopt SO_RCVTIMEO"))
}
