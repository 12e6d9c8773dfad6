//! Faults that strike the workers at random moments.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipc_tests::around::proc;
use ipc_tests::random::Random;
use ipc_worker::Instant;
use rustix::process::{Pid, Signal, kill_process};

use crate::crew::Crew;
use crate::handler::{ABORT, EXIT, PANIC, SLOTH, STUCK, gate, open_gate};
use crate::load::Load;

/// What can happen to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    /// SIGKILL from outside.
    Kill,
    /// `Worker::kill`.
    ByHand,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// A handler that panics, aborts or exits.
    Crash,
    /// A handler that finishes late or never.
    Stuck,
    /// A start that fails for a while: the set-up, or the exec if a program is started.
    NoStart,
}

const ALL: [Strike; 6] =
    [Strike::Kill, Strike::ByHand, Strike::Stop, Strike::Crash, Strike::Stuck, Strike::NoStart];

/// A fault that will be repaired.
#[derive(Debug)]
enum Broken {
    Stopped(Pid),
    NoGate,
    NoProgram,
}

/// Strikes workers at random moments.
#[derive(Debug)]
pub(crate) struct Agents {
    home: PathBuf,
    has_program: bool,
    random: Random,
    most: usize,
    next: Instant,
    counts: [usize; ALL.len()],
    broken: Vec<(Instant, Broken)>,
}

/// The path of the program that is started; it can be missing or replaced.
pub(crate) fn program(home: &Path) -> PathBuf {
    home.join("program")
}

/// Restores the program.
pub(crate) fn put_program(home: &Path) {
    put(&program(home), &fs::read_link(proc("self/exe")).unwrap());
}

fn put(link: &Path, target: &Path) {
    let new = link.with_extension("new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

impl Agents {
    /// Agents that make at most `most` strikes.
    pub(crate) fn new(home: &Path, most: usize) -> Self {
        let (home, has_program) = (home.into(), program(home).symlink_metadata().is_ok());
        let (random, next) = (Random::new(), Instant::now());
        let (counts, broken) = ([0; ALL.len()], Vec::new());
        Self { home, has_program, random, most, next, counts, broken }
    }

    fn strikes(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Whether every fault is repaired.
    pub(crate) fn is_mended(&self) -> bool {
        self.broken.is_empty()
    }

    /// When the next step is due.
    pub(crate) fn next(&self) -> Instant {
        let next = if self.have_struck() { Instant::NEVER } else { self.next };
        self.broken.iter().map(|(at, _)| *at).min().map_or(next, |at| at.min(next))
    }

    /// Whether all strikes have been made.
    pub(crate) fn have_struck(&self) -> bool {
        self.strikes() >= self.most
    }

    fn soon(&mut self, most: usize) -> Instant {
        let most = Duration::from_millis(1) * u32::try_from(most).unwrap();
        let part = u32::try_from(self.random.below(1000)).unwrap();
        Instant::now() + most * part / 1000
    }

    /// Strikes if it is time.
    pub(crate) fn act<C: Crew>(&mut self, crew: &mut C, load: &mut Load<C::Id>) {
        if self.have_struck() || Instant::now() < self.next {
            return;
        }
        self.next = self.soon(12);
        let index = self.random.below(crew.workers().len());
        let Some(pid) = crew.workers()[index].pid().and_then(Pid::from_raw) else { return };
        let kind = self.strikes() % ALL.len();
        let has_struck = match ALL[kind] {
            Strike::Kill => kill_process(pid, Signal::KILL).is_ok(),
            Strike::ByHand => {
                crew.kill(index);
                true
            }
            Strike::Stop => {
                let at = self.soon(200);
                self.broken.push((at, Broken::Stopped(pid)));
                kill_process(pid, Signal::STOP).is_ok()
            }
            Strike::Crash => {
                let method = [PANIC, ABORT, EXIT][self.random.below(3)];
                load.make_one(crew, method)
            }
            Strike::Stuck => {
                let method = [SLOTH, STUCK][self.random.below(2)];
                load.make_one(crew, method)
            }
            Strike::NoStart => {
                self.break_start();
                kill_process(pid, Signal::KILL).is_ok()
            }
        };
        self.counts[kind] += usize::from(has_struck);
    }

    /// Makes starts fail for a while.
    fn break_start(&mut self) {
        let program = program(&self.home);
        let broken = match self.random.below(if self.has_program { 4 } else { 1 }) {
            0 => {
                _ = fs::remove_file(gate(&self.home));
                Broken::NoGate
            }
            1 => {
                // It may already be missing.
                _ = fs::remove_file(program);
                Broken::NoProgram
            }
            // No program, then a program that is not a worker.
            2 => {
                put(&program, Path::new("/dev/null"));
                Broken::NoProgram
            }
            _ => {
                put(&program, Path::new("/bin/true"));
                Broken::NoProgram
            }
        };
        let at = self.soon(20);
        self.broken.push((at, broken));
    }

    /// Repairs faults that have lasted long enough.
    pub(crate) fn mend(&mut self, crew: &impl Crew) {
        let (now, pids) = (Instant::now(), crew.pids());
        let home = &self.home;
        self.broken.retain(|(at, broken)| {
            let is_over = *at <= now;
            if is_over {
                match broken {
                    // The worker may be dead, and its pid reused.
                    Broken::Stopped(pid) if !pids.contains(&Some(pid.as_raw_nonzero().get())) => {}
                    Broken::Stopped(pid) => _ = kill_process(*pid, Signal::CONT),
                    Broken::NoGate => open_gate(home),
                    Broken::NoProgram => put_program(home),
                }
            }
            !is_over
        });
    }
}
