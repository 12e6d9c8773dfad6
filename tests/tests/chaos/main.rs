//! Chaos under load: workers are killed, stopped and crashed, get stuck and fail to start, at
//! random moments. Each handler records what it begins and ends in a file that outlives it. Every
//! outcome is compared with these records.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod agents;
mod crew;
mod handler;
mod load;
mod record;
mod verdict;

use ipc_tests::over::{self, Over};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ipc_tests::forked::soon;
use ipc_tests::random::Random;
use ipc_tests::{deep, fds};
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Exec, Instant, Launch, Pool, Restart, Start, TimeLimit, Worker};

use agents::Agents;
use crew::Crew;
use handler::Recorder;
use load::Load;

pub(crate) const SLOTS: usize = 16;
pub(crate) const BYTES: usize = 8192;

/// The time limit of a request. On a busy machine it also hits correct handlers, which is harmless.
const LIMIT: TimeLimit =
    TimeLimit { time: Duration::from_millis(120), grace: Duration::from_millis(30) };

/// How often main has slept in turns, which it never should, and how long turns took.
#[derive(Debug, Default)]
struct Tick {
    turns: u64,
    slept: u64,
    longest: Duration,
    /// The same for turns that started a process, or tried to.
    starts: u64,
    slept_in_starts: u64,
    longest_start: Duration,
}

/// Turns, and records the events and whether main has slept.
fn turn<C: Crew>(crew: &mut C, load: &mut Load<C::Id>, tick: &mut Tick) {
    let (before, failures) = (crew.pids(), load.life.failures);
    let (slept, begun) = (crew::sleeps(), Instant::now());
    crew.turn(begun);
    let (slept, took) = (crew::sleeps() - slept, Instant::now().since(begun));
    let pids = crew.pids();
    while let Some((worker, event)) = crew.next_event() {
        load.note(pids[worker], event);
    }
    let has_made = before.iter().zip(pids).any(|(was, is)| is.is_some() && *was != is);
    if has_made || load.life.failures > failures {
        tick.starts += 1;
        tick.slept_in_starts += slept;
        tick.longest_start = tick.longest_start.max(took);
    } else {
        tick.turns += 1;
        tick.slept += slept;
        tick.longest = tick.longest.max(took);
    }
}

/// Works through `strikes` strikes, until every request has had its outcome.
fn strike<C: Crew>(home: &Path, crew: &mut C, load: &mut Load<C::Id>, strikes: usize) -> Tick {
    let (mut agents, mut tick) = (Agents::new(home, strikes), Tick::default());
    let limit = Instant::now() + Duration::from_secs(if deep::is_asked_for() { 3000 } else { 100 });
    loop {
        if !agents.have_struck() {
            load.make(crew);
        }
        agents.act(crew, load);
        agents.mend(crew);
        load.cancel_some(crew);
        turn(crew, load, &mut tick);
        if agents.have_struck() && agents.is_mended() && crew.in_use() == 0 {
            break;
        }
        assert!(Instant::now() < limit, "{agents:?}, {:?}", crew.workers());
        let next = agents.next().min(limit);
        let next = crew.next_deadline().map_or(next, |deadline| next.min(deadline));
        wait(&mut [Watched::new(crew.as_fd(), Interest::Input)], Some(next)).unwrap();
    }
    println!("{agents:?}");
    tick
}

/// Runs a crew through the chaos, and compares the outcomes with the records.
fn chaos<C: Crew>(start: impl FnOnce(&Path) -> C) {
    let home = tempfile::tempdir().unwrap();
    handler::open_gate(home.path());
    record::make(home.path());
    let before = fds::open();
    let mut crew = start(home.path());
    let mut load = Load::new(home.path(), Random::new());
    load.greet(&mut crew);
    let held = fds::open().len();
    let tick = strike(home.path(), &mut crew, &mut load, deep::or(70, 1000));
    // Each worker serves, or its successor does.
    load.greet(&mut crew);
    // Workers killed last may take a while to exit.
    let (limit, one_each) = (soon(), crew.workers().len());
    while (fds::open().len(), fds::children().len()) != (held, one_each) {
        let left = (fds::open(), fds::children());
        assert!(Instant::now() < limit, "{left:?} left of {held} and {one_each}");
        crew.turn(Instant::now());
        wait(&mut [], Some(Instant::now() + Duration::from_millis(1))).unwrap();
    }
    let counters: Vec<_> = crew.workers().iter().map(Worker::counters).collect();
    crew.stop(soon(), |event| panic!("after all outcomes: {event:?}"));
    drop(crew);
    assert!(fds::children().is_empty());
    println!("{tick:?}");
    verdict::judge(&load.made, load.life, &record::read(home.path()), &counters);
    // Reading a page from disk counts as sleeping too.
    assert!(tick.slept <= 4 + tick.turns / 500, "main has slept in turns: {tick:?}");
    drop(load);
    assert_eq!(fds::open(), before);
}

fn settled<L>(start: Start<L>) -> Start<L> {
    start.restart(Restart::AT_ONCE).time_limit(LIMIT).ready_within(Duration::from_secs(5))
}

fn forked(home: &Path) -> Start<impl Launch + use<>> {
    settled(over::fork(Recorder::new(home)))
}

/// The program is a link to this one, which the agents remove at times.
fn program(home: &Path) -> Start<Exec<'static, Over>> {
    let text = |path: &Path| -> &'static CStr {
        Box::leak(CString::new(path.as_os_str().as_bytes()).unwrap().into_boxed_c_str())
    };
    agents::put_program(home);
    let start = over::exec(text(&agents::program(home)));
    settled(start.args(Box::leak(Box::new([text(home)]))))
}

fn a_forked_worker_in_chaos() {
    chaos(|home| Worker::<u32, _, SLOTS, BYTES>::start(forked(home)).unwrap());
}

fn a_program_in_chaos() {
    chaos(|home| Worker::<u32, _, SLOTS, BYTES>::start(program(home)).unwrap());
}

fn a_pool_of_three_in_chaos() {
    chaos(|home| Pool::<u32, _, 3, SLOTS, BYTES>::start(|_| Ok(forked(home))).unwrap());
}

fn a_pool_of_three_programs_in_chaos() {
    chaos(|home| Pool::<u32, _, 3, SLOTS, BYTES>::start(|_| Ok(program(home))).unwrap());
}

fn main() -> ExitCode {
    if ipc_worker::is_worker() {
        over::serve::<_, SLOTS, BYTES>(|| {
            Ok(Recorder::new(Path::new(&std::env::args_os().nth(2).unwrap_or_default())))
        });
    }
    cases()
}

ipc_tests::cases! { cases =
    a_forked_worker_in_chaos,
    a_program_in_chaos,
    a_pool_of_three_in_chaos,
    a_pool_of_three_programs_in_chaos,
}
