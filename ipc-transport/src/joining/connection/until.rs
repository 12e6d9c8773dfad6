//! The calls of a connection that wait. In this folder, only they make system calls.

use core::time::Duration;

use ipc_frame::{Encode, Header, PushError};

use crate::contract::TransportError;
use crate::fd::{AsFd, BorrowedFd};
use crate::joining::connection::Connection;
use crate::joining::connection::errors::{ConnectionError, SendError};
use crate::joining::connection::hello::Hello;
use crate::joining::inbox::Arrival;
use crate::waiting::{Instant, Interest, Watched, wait};

/// How long to wait before a call is made again while the system is short of resources.
const PAUSE: Duration = Duration::from_millis(1);

/// Calls that wait until a deadline, for programs without an event loop. The transport's descriptor
/// must poll writable when there is room, as a socket's does.
impl<T: AsFd, const BYTES: usize, const FRAMES: usize> Connection<T, BYTES, FRAMES> {
    /// Waits for the peer's hello. The other waiting calls do this first.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub fn open_until(&mut self, deadline: Instant) -> Result<Hello, ConnectionError> {
        self.until(Interest::Input, deadline, Self::try_open)
    }

    /// Sends a frame with duplicates of the descriptors, and waits until the transport has taken it
    /// completely.
    ///
    /// # Errors
    /// See [`SendError`]. At the deadline, `NotOpen` and `Full` mean that nothing is queued;
    /// `TimedOut` means that the frame is, and that later calls send it.
    pub fn send_until(
        &mut self,
        header: Header,
        message: &impl Encode,
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), SendError> {
        self.open_until(deadline).map_err(|error| match error {
            // Nothing is queued.
            ConnectionError::TimedOut => SendError::NotOpen,
            error => error.into(),
        })?;
        let number = match self.queue(header, message, fds) {
            Err(SendError::Push(PushError::Full)) => {
                self.flush_until(deadline).map_err(|error| match error {
                    ConnectionError::TimedOut => PushError::Full.into(),
                    error => SendError::from(error),
                })?;
                self.queue(header, message, fds)?
            }
            queued => queued?,
        };
        self.flush_until(deadline).map_err(|error| self.take_back(number, error))
    }

    /// Waits until the transport has taken everything that is queued.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub fn flush_until(&mut self, deadline: Instant) -> Result<(), ConnectionError> {
        let flush = |this: &mut Self| Ok(this.flush()?.then_some(()));
        self.until(Interest::Output, deadline, flush)
    }

    /// Waits for the next frame, and sends what is queued meanwhile.
    ///
    /// # Errors
    /// See [`ConnectionError`]. Frames that came before a fault or the end are given first.
    pub fn receive_until(
        &mut self,
        deadline: Instant,
    ) -> Result<(Header, Arrival<'_>), ConnectionError> {
        let header = self.until(Interest::Input, deadline, Self::try_advance)?;
        Ok((header, self.inbox.current()))
    }

    /// Makes the call until it returns `Some`. While the system is short of resources, no descriptor
    /// shows when to make it again.
    fn until<R>(
        &mut self,
        interest: Interest,
        deadline: Instant,
        call: fn(&mut Self) -> Result<Option<R>, ConnectionError>,
    ) -> Result<R, ConnectionError> {
        loop {
            match call(self) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => self.wait(interest, deadline)?,
                Err(ConnectionError::Transport(TransportError::Exhausted(_))) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return Err(ConnectionError::TimedOut);
                    }
                    wait(&mut [], Some(deadline.min(now + PAUSE)))
                        .map_err(TransportError::System)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the interest, and also for room if anything is queued.
    fn wait(&self, interest: Interest, deadline: Instant) -> Result<(), ConnectionError> {
        let fd = self.transport.as_fd();
        let second = if self.wants_output() { Interest::Output } else { interest };
        let mut watched = [Watched::new(fd, interest), Watched::new(fd, second)];
        match wait(&mut watched, Some(deadline)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ConnectionError::TimedOut),
            Err(error) => Err(TransportError::System(error).into()),
        }
    }
}
