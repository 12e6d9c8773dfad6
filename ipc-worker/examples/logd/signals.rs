//! Signals as bytes in a socket, so that the loop can wait for them.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;

use ipc_barrier::process::reset_signals;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::pipe;

/// What the daemon was told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// SIGHUP: open the log anew.
    pub(crate) reopen: bool,
    /// SIGTERM and SIGINT: write what there is, and stop.
    pub(crate) stop: bool,
    /// SIGQUIT: stop now.
    pub(crate) quit: bool,
}

/// The reading ends of what the handlers write to.
pub(crate) struct Signals {
    stop: UnixStream,
    quit: UnixStream,
    reopen: UnixStream,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT, SIGQUIT and SIGHUP, whatever this process was started with:
    /// nothing stays blocked, and what fails with an error too is ignored (SIGPIPE, SIGXFSZ).
    pub(crate) fn register() -> io::Result<Self> {
        reset_signals(&[Signal::PIPE, Signal::XFSZ].map(Signal::as_raw))?;
        let (stop, on_term) = UnixStream::pair()?;
        let (quit, on_quit) = UnixStream::pair()?;
        let (reopen, on_hup) = UnixStream::pair()?;
        for end in [&stop, &quit, &reopen] {
            end.set_nonblocking(true)?;
        }
        pipe::register(SIGINT, on_term.try_clone()?)?;
        pipe::register(SIGTERM, on_term)?;
        pipe::register(SIGQUIT, on_quit)?;
        pipe::register(SIGHUP, on_hup)?;
        Ok(Self { stop, quit, reopen })
    }

    /// What to watch for reading.
    pub(crate) fn watched(&self) -> [BorrowedFd<'_>; 3] {
        [self.stop.as_fd(), self.quit.as_fd(), self.reopen.as_fd()]
    }

    /// Takes what has come since the last time.
    pub(crate) fn take(&self) -> Told {
        let [stop, quit, reopen] = [&self.stop, &self.quit, &self.reopen].map(has_come);
        Told { reopen, stop, quit }
    }
}

fn has_come(mut socket: &UnixStream) -> bool {
    let mut any = false;
    // Nothing there is an error too, and none of ours.
    while socket.read(&mut [0; 64]).is_ok_and(|len| len > 0) {
        any = true;
    }
    any
}
