//! One daemon, from its start to its end, through its phases.

use std::{
    collections::HashSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};

use super::{
    daemon::{Daemon, Mode, Setup},
    figures::{ms, percent},
    ledger::{self, Ledger},
    load::Load,
    measured::{Kill, Measured},
    message::Message,
    phase::{Act, Phase, Plan},
    stats::{Line, Second},
};
use crate::failure::Failure;

/// A daemon prints a line per second. If it prints nothing for this long, it hangs.
const SILENCE: Duration = Duration::from_secs(10);

/// If there is no worker to act on, try again after this time.
const AGAIN: Duration = Duration::from_millis(50);

const LOST: &str = "logd: lost (running):";
const NOT_SYNCED: &str = "logd: written but perhaps not synced:";

/// The results of one daemon.
pub(crate) struct Finished {
    pub(crate) phases: Vec<Measured>,
    /// How the daemon exited, if not with 0.
    pub(crate) bad_exit: Option<String>,
    pub(crate) ledger: Ledger,
    /// The messages that it reported lost, by name.
    pub(crate) lost: HashSet<Message>,
    /// How many it reported as written, but perhaps not synced.
    pub(crate) not_synced: usize,
}

/// Conditions that are the same for every daemon of a demo.
pub(crate) struct Conditions<'a> {
    /// Messages per second.
    pub(crate) rate: u64,
    /// Whether `logger` also sends.
    pub(crate) has_logger: bool,
    /// Set when a signal asks the demo to end.
    pub(crate) interrupted: &'a AtomicBool,
}

/// Runs one daemon through the phases, then reads its files.
pub(crate) fn run(
    setup: &Setup<'_>,
    mode: Mode,
    plans: &[Plan],
    conditions: &Conditions<'_>,
) -> Result<Finished, Failure> {
    let Conditions { rate, has_logger, interrupted } = *conditions;
    let (daemon, socket) = (Daemon::start(setup, mode)?, setup.socket);
    let (heard, last) = (Instant::now(), Second::default());
    let mut run = Run { daemon, socket, rate, has_logger, interrupted, heard, last, sent: 0 };
    let mut phases = Vec::new();
    for plan in plans {
        phases.push(run.phase(plan)?);
    }
    let ended = run.daemon.stop()?;
    if let Some(measured) = phases.last_mut() {
        measured.add_counts(&run.last, &ended.last);
    }

    let mut ledger = Ledger::read(setup.dir).map_err(Failure::of("read logd's files"))?;
    let lost = ledger::named(&ended.said, LOST);
    for measured in &mut phases {
        measured.fate = ledger.settle(measured.phase, &measured.sent.accepted, &lost);
    }
    Ok(Finished {
        phases,
        bad_exit: (!ended.status.success()).then(|| ended.status.to_string()),
        ledger,
        lost,
        not_synced: ledger::named(&ended.said, NOT_SYNCED).len(),
    })
}

struct Run<'a> {
    daemon: Daemon,
    socket: &'a Path,
    rate: u64,
    has_logger: bool,
    interrupted: &'a AtomicBool,
    /// When the daemon last printed a line.
    heard: Instant,
    /// The daemon's latest figures.
    last: Second,
    /// How many messages the earlier phases have sent.
    sent: u64,
}

impl Run<'_> {
    /// Runs one phase. It begins and ends with a line of the daemon's figures, so that no figure
    /// counts for two phases.
    fn phase(&mut self, plan: &Plan) -> Result<Measured, Failure> {
        let mut load = Load::start(self.socket, plan.phase, self.rate)?;
        if self.has_logger {
            load.add_logger(self.socket, plan.phase)?;
        }
        let mut measured = Measured::new(plan.phase);
        let mut acts = plan.acts_from(Instant::now());
        let mut seconds_left = plan.seconds;
        while seconds_left > 0 {
            let due = acts.front().map(|(due, _)| *due);
            match self.next_line(due)? {
                Some(Line::Second(second)) => {
                    seconds_left -= 1;
                    self.show(plan.phase, seconds_left, &second, &load);
                    measured.add(&self.last, &second);
                    self.last = second;
                }
                Some(line) => measured.note(&line),
                None => {
                    let Some((_, act)) = acts.pop_front() else { continue };
                    if !self.perform(act, &mut measured)? {
                        acts.push_front((Instant::now() + AGAIN, act));
                    }
                }
            }
        }
        measured.sent = load.stop()?;
        self.sent += measured.sent.accepted_count();
        Ok(measured)
    }

    /// Waits for a line of figures; `None` once `due` has passed.
    fn next_line(&mut self, due: Option<Instant>) -> Result<Option<Line>, Failure> {
        let silence = self.heard + SILENCE;
        let line = self.daemon.next_line(due.unwrap_or(silence).min(silence))?;
        let now = Instant::now();
        if self.interrupted.load(Relaxed) {
            return Err(Failure::Failed("interrupted".into()));
        }
        if line.is_some() {
            self.heard = now;
        } else if now >= silence {
            let seconds = SILENCE.as_secs();
            return Err(Failure::Failed(format!("logd printed nothing for {seconds} s: it hangs")));
        }
        Ok(line)
    }

    /// Performs an act on the worker; false while the daemon has no worker.
    fn perform(&mut self, act: Act, measured: &mut Measured) -> Result<bool, Failure> {
        let signal = match act {
            Act::Kill => Signal::KILL,
            Act::Stop => Signal::STOP,
            Act::Continue => Signal::CONT,
        };
        let t = clock_ns();
        let done = self.daemon.signal_worker(signal)?;
        if done {
            match act {
                Act::Kill => measured.kills.push(Kill::at(t)),
                Act::Stop => println!("          SIGSTOP to the worker"),
                Act::Continue => println!("          SIGCONT to the worker"),
            }
        }
        Ok(done)
    }

    /// Prints the live line of a second.
    fn show(&self, phase: Phase, seconds_left: u64, second: &Second, load: &Load) {
        println!(
            "{:8} {seconds_left:2} s left  sent {:6}  written {:6}  on time {:>8}  worst {:>10}  \
             longest send {:>11}",
            phase.key(),
            self.sent + load.accepted(),
            second.written,
            percent(second.on_time, second.ticks),
            ms(second.late.max()),
            ms(load.take_longest_us()),
        );
    }
}

/// The clock of the daemon's figures.
fn clock_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}
