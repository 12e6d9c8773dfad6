//! Signals as bytes in a socket, so that the loop can wait for them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::fd::{AsFd, BorrowedFd};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::low_level::pipe;

/// What the daemon was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// SIGHUP: open the log anew.
    pub(crate) reopen: bool,
    /// SIGTERM and SIGINT: stop. So many times.
    pub(crate) stop: usize,
}

/// The reading ends of what the handlers write to.
pub(crate) struct Signals {
    stop: UnixStream,
    reopen: UnixStream,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP, and SIGXFSZ, so that a file that may not grow is an
    /// error and not the end.
    pub(crate) fn register() -> io::Result<Self> {
        let (stop, on_term) = UnixStream::pair()?;
        let (reopen, on_hup) = UnixStream::pair()?;
        stop.set_nonblocking(true)?;
        reopen.set_nonblocking(true)?;
        pipe::register(SIGINT, on_term.try_clone()?)?;
        pipe::register(SIGTERM, on_term)?;
        pipe::register(SIGHUP, on_hup)?;
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(Self { stop, reopen })
    }

    /// What to watch for reading.
    pub(crate) fn watched(&self) -> [BorrowedFd<'_>; 2] {
        [self.stop.as_fd(), self.reopen.as_fd()]
    }

    /// Takes what has come since the last time.
    pub(crate) fn take(&self) -> Told {
        Told { reopen: count(&self.reopen) > 0, stop: count(&self.stop) }
    }
}

fn count(mut socket: &UnixStream) -> usize {
    let mut bytes = [0; 64];
    // Nothing there is an error too, and none of ours.
    socket.read(&mut bytes).unwrap_or(0)
}
