//! A view of a socket with calls that wait.

use rustix::fd::BorrowedFd;

use crate::contract::{Carry, Fds, Moved, Received};
use crate::unix::calls::{Calls, Mode};
use crate::unix::socket::{Kind, Unix};
use crate::waiting::{Instant, Patience};

/// A view of a [`Stream`](crate::Stream) or [`Seqpacket`](crate::Seqpacket) whose calls wait,
/// unless [`with`](Self::with) disables that. Sending waits for room without a timeout. Receiving
/// waits for bytes, for at most the time set with `set_receive_timeout`, and then returns
/// `Ok(None)`. If a signal arrives, it may wait up to twice as long.
#[derive(Debug)]
pub struct Blocking<'a, S> {
    pub(super) socket: &'a mut S,
    pub(super) patience: Option<Patience>,
}

impl<K: Kind> Unix<K> {
    /// Returns a view of the same socket whose calls wait for room and for bytes.
    pub const fn blocking(&mut self) -> Blocking<'_, Self> {
        Blocking::new(self)
    }
}

impl<'a, S> Blocking<'a, S> {
    pub(super) const fn new(socket: &'a mut S) -> Self {
        Self { socket, patience: Some(Patience::SLEEP) }
    }

    /// Sets how long a receive spins before it sleeps. The time of `set_receive_timeout` starts
    /// after that. With `None` no call waits, so a program that chooses at run time needs only one
    /// type.
    #[must_use]
    pub fn with(self, patience: impl Into<Option<Patience>>) -> Self {
        Self { patience: patience.into(), ..self }
    }

    fn mode(&self) -> Mode {
        self.patience.map_or(Mode::NonBlocking, |_| Mode::Blocking)
    }
}

impl<K: Kind> Carry for Blocking<'_, Unix<K>> {
    #[inline]
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        let (kind, calls) = self.socket.in_mode(self.mode());
        kind.send(calls, pieces, fds)
    }

    #[inline]
    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        if let Some(Patience { spin }) = self.patience.filter(|it| !it.spin.is_zero()) {
            let end = Instant::now() + spin;
            loop {
                let answer = self.socket.receive_fds(space, fds);
                if !matches!(answer, Ok(None)) {
                    return answer;
                }
                if Instant::now() >= end {
                    break;
                }
                core::hint::spin_loop();
            }
        }
        let (kind, calls) = self.socket.in_mode(self.mode());
        kind.receive(calls, space, fds)
    }

    fn holds(&self) -> bool {
        self.socket.holds()
    }
}

/// Sends on a borrowed socket, while another value receives on it, and waits for room.
///
/// # Errors
/// As [`Transport::send`](crate::Transport::send).
pub fn send_to(socket: BorrowedFd<'_>, pieces: &[&[u8]]) -> Moved {
    Calls { fd: socket, mode: Mode::Blocking }.send(pieces, usize::MAX, &[])
}
