//! Main's side of the worker: takes a file, returns a listing or what went wrong.

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ipc_worker::{Again, Call, Ended, Event, Exec, Instant, Outcome, Restart, Start, Worker};

use crate::options::Options;
use crate::parser::{LACKS, LIST};

pub(crate) const SLOTS: usize = 2;
pub(crate) const BYTES: usize = 4096;

/// How many workers may die of a file before it is set aside.
const TRIES: u8 = 3;

/// The exit status of a Rust program that panics.
const PANIC: u8 = 101;
/// The number of SIGABRT.
const ABORT: u8 = 6;

pub(crate) struct Reader<'a> {
    worker: Worker<(), Exec<'a>, SLOTS, BYTES>,
    /// The time for each file, including all tries.
    time: Duration,
    lost: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn start(options: &'a Options) -> Result<Self, Box<dyn Error>> {
        // The worker gets no environment, which may contain secrets. It restarts at once and
        // without a limit, because each file's tries and time are limited.
        let start = Start::exec_self()?.args(&options.without).env(&[]).restart(Restart::AT_ONCE);
        Ok(Self { worker: Worker::start(start)?, time: options.deadline, lost: 0 })
    }

    /// Asks which parts of the sandbox the kernel lacks.
    pub(crate) fn lacks(&mut self) -> Result<String, String> {
        self.ask(Call::new(LACKS, &[]))
    }

    /// Lets the worker parse a file.
    pub(crate) fn list(&mut self, file: &OwnedFd) -> Result<String, String> {
        self.ask(Call::new(LIST, &[]).fds(&[file.as_fd()]))
    }

    /// Makes a call that may kill several workers, and returns the result.
    fn ask(&mut self, call: Call<'_>) -> Result<String, String> {
        let (mut told, mut is_late, mut last) = (None, false, String::new());
        let call = call.again(Again::UntilDone).tries(TRIES);
        let taken =
            self.worker.call_until(call, (), Instant::now() + self.time, |event| match event {
                Event::Died(ended) => {
                    self.lost += 1;
                    last = blame(ended);
                }
                Event::NotStarted(error) => last = format!("it did not start: {error}"),
                Event::Done { outcome, .. } => {
                    told = Some(match outcome {
                        Outcome::Reply(reply) => {
                            Ok(String::from_utf8_lossy(reply.bytes()).into_owned())
                        }
                        Outcome::Refused(refusal) => Err(format!("refused: {}", refusal.text)),
                        Outcome::SetAside(_) => {
                            Err(format!("set aside after {TRIES} tries; the last worker: {last}"))
                        }
                        Outcome::DeadlinePassed => {
                            is_late = true;
                            Err(format!("given up after {} ms", self.time.as_millis()))
                        }
                        other => Err(format!("{other:?}")),
                    })
                }
                _ => {}
            });
        // It may run forever. Later requests go to the next worker.
        if is_late {
            self.worker.kill();
        }
        taken.map_err(|not_taken| not_taken.to_string())?;
        told.unwrap_or(Err(last))
    }

    /// Stops the worker, and returns how many died.
    pub(crate) fn stop(mut self) -> u32 {
        let deadline = Instant::now() + self.time;
        self.worker.stop(deadline, |event| {
            self.lost += u32::from(matches!(event, Event::Died(_)));
        });
        self.lost
    }
}

/// Describes how a worker ended, and what that means here.
fn blame(ended: Ended) -> String {
    match ended {
        Ended::Exited(PANIC) => format!("{ended} (a panic)"),
        Ended::Killed(ABORT) => format!("{ended} (SIGABRT: out of memory, or worse)"),
        _ => ended.to_string(),
    }
}
