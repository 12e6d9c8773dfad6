//! The signals that the parent forwards to its program.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::{Child, Ended, Instant};
use ipc_transport::{Interest, Watched, wait};
use rustix::process::{Pid, Signal, kill_process};

/// A terminal or a service manager sends these to the parent only, because the program leads a
/// separate session.
const FORWARDED: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];

/// How often to check a child without a pidfd.
const OFTEN: Duration = Duration::from_millis(20);

/// For each signal, the socket to which its handler writes.
pub(crate) struct Signals([UnixStream; FORWARDED.len()]);

impl Signals {
    /// Installs the handlers. Signals that arrive before the program runs are kept for it.
    pub(crate) fn handle() -> io::Result<Self> {
        let [hup, int, term] = FORWARDED.map(|signal| {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal.as_raw(), write)?;
            io::Result::Ok(read)
        });
        Ok(Self([hup?, int?, term?]))
    }

    /// Forwards signals until the program ends.
    pub(crate) fn forward_until_end(&self, child: &mut Child) -> Ended {
        loop {
            if let Some(ended) = child.try_wait() {
                return ended;
            }
            for (mut arrived, signal) in self.0.iter().zip(FORWARDED) {
                // The child was not reaped yet, so it still has this pid.
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
