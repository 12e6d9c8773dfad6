//! The signals that the parent passes on to its program.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::{Child, Ended, Instant};
use ipc_transport::{Interest, Watched, wait};
use rustix::process::{Pid, Signal, kill_process};

/// What a terminal or a service manager sends to the parent alone: the program leads a session.
const FORWARDED: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];

/// How often a child without a pidfd is looked at.
const OFTEN: Duration = Duration::from_millis(20);

/// Signals that have arrived, each on a socket into which its handler writes.
pub(crate) struct Signals([UnixStream; FORWARDED.len()]);

impl Signals {
    /// Handles them from now on: one that comes before the program runs is kept for it.
    pub(crate) fn handle() -> io::Result<Self> {
        let [hup, int, term] = FORWARDED.map(|signal| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), write)?;
            io::Result::Ok(read)
        });
        Ok(Self([hup?, int?, term?]))
    }

    /// Waits for the program's end, and passes on what arrives.
    pub(crate) fn forward_until_end(&self, child: &mut Child) -> Ended {
        loop {
            if let Some(ended) = child.try_wait() {
                return ended;
            }
            for (mut arrived, signal) in self.0.iter().zip(FORWARDED) {
                // Nobody has waited for the child yet, so the number is its own.
                if let (Ok(1..), Some(pid)) =
                    (arrived.read(&mut [0; 64]), Pid::from_raw(child.pid()))
                {
                    _ = kill_process(pid, signal);
                }
            }
            let until = child.pidfd().is_none().then(|| Instant::now() + OFTEN);
            let fds = self.0.iter().map(AsFd::as_fd).chain(child.pidfd());
            let mut watched: Vec<_> = fds.map(|fd| Watched::new(fd, Interest::Input)).collect();
            if wait(&mut watched, until).is_err() {
                return child.wait();
            }
        }
    }
}
