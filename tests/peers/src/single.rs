//! One measurement of one contender at one kind of work, in a separate process.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Entrant, Task, Trouble};
use crate::counting::Counting;
use crate::cpus::{Cpus, pin};
use crate::memory::Memory;
use crate::work::{Job, Work};

/// The shortest time between two readings of the clock; a reading takes far less.
const SAMPLE: Duration = Duration::from_micros(20);

/// The warm-up is this fraction of the measured time.
const WARM_UP: u32 = 3;
/// The least rounds of warm-up, so that all memory is touched.
const WARM_UP_ROUNDS: u32 = 8;

/// How often requests may fail after the peer was killed.
const TRIES: usize = 5;

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effort {
    /// As many rounds as fit in this time.
    Time(Duration),
    /// This many rounds, when counting instead of timing.
    Rounds(usize),
}

/// What one measurement found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Found {
    /// The median time per message.
    Nanoseconds(f64),
    Counted {
        /// Allocations per message, both sides together.
        allocations: f64,
        main: Memory,
        peers: Memory,
    },
    Elsewhere,
    LeftOut(String),
    Failed(String),
}

/// Measures in this process.
pub(crate) fn measure(entrant: &Entrant, job: Job, effort: Effort) -> Found {
    let (own_cpu, peer_cpu) = Cpus::allowed().of(job.cpus);
    pin(own_cpu);
    let task = Task { work: job.work, cpus: job.cpus, peer_cpu };
    let found = match effort {
        Effort::Rounds(rounds) => counted(entrant, task, rounds),
        Effort::Time(time) => timed(entrant, task, time).map(Found::Nanoseconds),
    };
    found.unwrap_or_else(|trouble| match trouble {
        Trouble::Elsewhere => Found::Elsewhere,
        Trouble::LeftOut(why) => Found::LeftOut(why.into()),
        Trouble::Failed(error) => Found::Failed(error),
    })
}

fn timed(entrant: &Entrant, task: Task, time: Duration) -> Result<f64, Trouble> {
    let mut times = match task.work {
        Work::Spawn => until(time, || spawn(entrant, task))?,
        Work::Kill => {
            let mut contender = (entrant.start)(task)?;
            contender.round()?;
            until(time, || kill(&mut contender, entrant, task))?
        }
        _ => rounds(&mut *(entrant.start)(task)?, time)?,
    };
    times.sort_unstable();
    Ok(times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e9)
        / task.work.in_round() as f64)
}

/// Repeats an operation, timing each run.
fn until(
    time: Duration,
    mut once: impl FnMut() -> Result<Duration, Trouble>,
) -> Result<Vec<Duration>, Trouble> {
    let begun = Instant::now();
    let mut times = vec![once()?];
    while begun.elapsed() < time {
        times.push(once()?);
    }
    Ok(times)
}

/// Times rounds; short ones several at once.
fn rounds(contender: &mut dyn Contender, time: Duration) -> Result<Vec<Duration>, Trouble> {
    sample(contender, WARM_UP_ROUNDS)?;
    until(time / WARM_UP, || sample(contender, 1))?;
    let one = sample(contender, 1)?.max(Duration::from_nanos(1));
    let count = SAMPLE.div_duration_f64(one).ceil() as u32;
    until(time, || Ok(sample(contender, count)? / count))
}

fn sample(contender: &mut dyn Contender, count: u32) -> Result<Duration, Trouble> {
    let begun = Instant::now();
    for _ in 0..count {
        contender.round()?;
    }
    Ok(begun.elapsed())
}

fn spawn(entrant: &Entrant, task: Task) -> Result<Duration, Trouble> {
    let begun = Instant::now();
    let mut contender = (entrant.start)(task)?;
    contender.round()?;
    Ok(begun.elapsed())
}

fn kill(
    contender: &mut Box<dyn Contender>,
    entrant: &Entrant,
    task: Task,
) -> Result<Duration, Trouble> {
    let pid = contender.pid().and_then(Pid::from_raw);
    let pid = pid.ok_or(Trouble::Failed("no process to kill".into()))?;
    let begun = Instant::now();
    kill_process(pid, Signal::KILL)?;
    for _ in 0..TRIES {
        match contender.round() {
            Ok(()) => return Ok(begun.elapsed()),
            Err(_) if contender.restarts() => {}
            Err(_) => *contender = (entrant.start)(task)?,
        }
    }
    Err(Trouble::Failed(format!("no reply after the kill, in {TRIES} tries")))
}

/// Does `rounds` rounds and counts their allocations. System calls are counted from outside.
fn counted(entrant: &Entrant, task: Task, rounds: usize) -> Result<Found, Trouble> {
    Counting::share()?;
    let mut contender = (entrant.start)(task)?;
    sample(&mut *contender, 100)?;
    let before = Counting::count();
    for _ in 0..rounds {
        contender.round()?;
    }
    let allocations = Counting::count() - before;
    let messages = (rounds * task.work.in_round()) as f64;
    Ok(Found::Counted {
        allocations: allocations as f64 / messages,
        main: Memory::of_this_process(),
        peers: Memory::of_children(),
    })
}
