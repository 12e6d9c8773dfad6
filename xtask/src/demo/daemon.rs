//! The daemon under test: starts it, reads its output, signals it, and never leaves it behind.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::stats::{Line, Second};
use crate::{failure::Failure, process};

const READY_TIME: Duration = Duration::from_secs(10);
const EXIT_TIME: Duration = Duration::from_secs(30);
const LAST_WORDS_TIME: Duration = Duration::from_secs(5);
const KILL_TIME: Duration = Duration::from_secs(2);

/// The stall, in the form of logd's option: milliseconds of stall, and the period in milliseconds.
pub(crate) const STALL: &str = "200/250";

/// How the daemon does its writing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    InLine,
    Worker,
}

/// How to start a daemon.
pub(crate) struct Setup<'a> {
    pub(crate) program: &'a Path,
    pub(crate) socket: &'a Path,
    pub(crate) dir: &'a Path,
    /// As `STALL`; `None` leaves the medium as it is.
    pub(crate) stall: Option<&'a str>,
}

/// A running daemon. Dropping it kills it and its worker.
pub(crate) struct Daemon {
    child: Child,
    worker: Option<Pid>,
    heard: Receiver<Heard>,
    /// How many of its output pipes are open.
    open: usize,
    said: Vec<String>,
}

/// How a daemon ended, and its last words.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The figures of its last line.
    pub(crate) last: Second,
    /// The lines of its stderr.
    pub(crate) said: Vec<String>,
}

/// What the reader of a pipe passes on.
enum Heard {
    Figures(Result<Line, String>),
    Said(String),
    Closed,
}

/// What came before a deadline.
enum News {
    Line(Line),
    Closed,
    Nothing,
}

impl Daemon {
    /// Starts the daemon and waits until it listens.
    pub(crate) fn start(setup: &Setup<'_>, mode: Mode) -> Result<Self, Failure> {
        let mut child = command(setup, mode).spawn().map_err(Failure::of("start logd"))?;
        let (sender, heard) = mpsc::channel();
        let mut open = 0;
        if let Some(stdout) = child.stdout.take() {
            listen(stdout, sender.clone(), |line| Heard::Figures(Line::parse(&line)));
            open += 1;
        }
        if let Some(stderr) = child.stderr.take() {
            listen(stderr, sender, Heard::Said);
            open += 1;
        }
        let mut daemon = Self { child, worker: None, heard, open, said: Vec::new() };
        match daemon.next_line(Instant::now() + READY_TIME)? {
            Some(Line::Ready { .. }) => Ok(daemon),
            _ => Err(daemon.failure("did not say that it is ready")),
        }
    }

    /// Waits for the next line of figures; `None` at the deadline.
    ///
    /// # Errors
    /// The daemon has ended, or its output cannot be parsed. Drop it then.
    pub(crate) fn next_line(&mut self, deadline: Instant) -> Result<Option<Line>, Failure> {
        match self.hear(deadline)? {
            News::Line(line) => {
                self.note_worker(&line);
                Ok(Some(line))
            }
            News::Closed => Err(self.ended_early()),
            News::Nothing => Ok(None),
        }
    }

    /// Sends the signal to the worker; false while it has no worker.
    pub(crate) fn signal_worker(&mut self, signal: Signal) -> Result<bool, Failure> {
        let Some(worker) = self.worker else { return Ok(false) };
        kill_process(worker, signal)
            .map_err(|error| Failure::of("signal logd's worker")(error.into()))?;
        if signal == Signal::KILL {
            self.worker = None;
        }
        Ok(true)
    }

    /// Asks the daemon to end with SIGTERM and waits until it has.
    pub(crate) fn stop(mut self) -> Result<Ended, Failure> {
        if let Some(pid) = self.pid() {
            kill_process(pid, Signal::TERM)
                .map_err(|error| Failure::of("stop logd")(error.into()))?;
        }
        let deadline = Instant::now() + EXIT_TIME;
        let mut last = None;
        while self.open > 0 {
            match self.hear(deadline)? {
                News::Line(Line::End(second)) => last = Some(second),
                News::Line(_) | News::Closed => {}
                News::Nothing => return Err(self.failure("did not end after SIGTERM")),
            }
        }
        let status = process::wait_until(&mut self.child, deadline)
            .map_err(Failure::of("wait for logd"))?
            .ok_or_else(|| self.failure("did not end after SIGTERM"))?;
        let last = last.ok_or_else(|| self.failure("ended without its last figures"))?;
        Ok(Ended { status, last, said: std::mem::take(&mut self.said) })
    }

    /// Waits for a line of figures or the end of a pipe. Keeps other output meanwhile.
    fn hear(&mut self, deadline: Instant) -> Result<News, Failure> {
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(rest) {
                Ok(Heard::Figures(Ok(line))) => return Ok(News::Line(line)),
                Ok(Heard::Figures(Err(why))) => {
                    return Err(
                        self.failure(&format!("printed a line that cannot be parsed: {why}"))
                    );
                }
                Ok(Heard::Said(line)) => self.said.push(line),
                Ok(Heard::Closed) => {
                    self.open = self.open.saturating_sub(1);
                    return Ok(News::Closed);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(News::Nothing),
                Err(RecvTimeoutError::Disconnected) => return Ok(News::Closed),
            }
        }
    }

    fn note_worker(&mut self, line: &Line) {
        match *line {
            Line::Ready { worker } | Line::Started { worker, .. } => self.worker = worker,
            Line::Died => self.worker = None,
            _ => {}
        }
    }

    /// Returns the failure of a daemon that ended by itself: how it ended, and its last output.
    fn ended_early(&mut self) -> Failure {
        let deadline = Instant::now() + LAST_WORDS_TIME;
        while self.open > 0 && !matches!(self.hear(deadline), Ok(News::Nothing) | Err(_)) {}
        match process::wait_until(&mut self.child, deadline) {
            Ok(Some(status)) => self.failure(&format!("ended too early, with {status}")),
            _ => self.failure("closed its output but did not end"),
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let said = if self.said.is_empty() { "nothing".into() } else { self.said.join("\n  ") };
        Failure::Failed(format!("logd {what}; it said:\n  {said}"))
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Daemon {
    /// Stops main first, so that it neither starts another worker nor reaps this one. The worker's
    /// process id thus stays valid.
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let pids = [(self.pid(), Signal::STOP), (self.worker, Signal::KILL)];
        for (pid, signal) in pids.into_iter().filter_map(|(pid, signal)| Some((pid?, signal))) {
            // Ignore the error if it has ended meanwhile.
            let _ = kill_process(pid, signal);
        }
        let _ = self.child.kill();
        let _ = process::wait_until(&mut self.child, Instant::now() + KILL_TIME);
    }
}

fn command(setup: &Setup<'_>, mode: Mode) -> Command {
    let mut command = Command::new(setup.program);
    command.arg("--socket").arg(setup.socket).arg("--dir").arg(setup.dir);
    // Small files that are soon rotated, and enough of them to keep all messages.
    command.args(["--stats", "--rotate-bytes", "262144", "--keep", "9999"]);
    if mode == Mode::InLine {
        command.arg("--inline");
    }
    if let Some(stall) = setup.stall {
        command.args(["--stall", stall]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Passes on the lines of a pipe, then that it is closed.
fn listen(
    pipe: impl Read + Send + 'static,
    sender: Sender<Heard>,
    heard: impl Fn(String) -> Heard + Send + 'static,
) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            // Keep reading even if nothing listens any more, so that the writer never blocks.
            let _ = sender.send(heard(String::from_utf8_lossy(&line).into_owned()));
        }
        let _ = sender.send(Heard::Closed);
    });
}
