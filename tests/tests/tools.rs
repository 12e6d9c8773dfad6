//! Both sides under a daemon author's tools. strace counts the system calls of a worker's round
//! trip and of tokens at a barrier; valgrind finds no error in either.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ipc_tests::over;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use ipc_barrier::{Barrier, Fork, exit, fork};
use ipc_tests::cases;
use ipc_tests::cases::skip;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Call, Event, Instant, Launch, Outcome, Refusal, Reply, Request, Worker};
use std::os::fd::AsFd;

/// Set in the traced process: what to run, and how often.
const WAY: &str = "IPC_TESTS_WAY";
const COUNT: &str = "IPC_TESTS_COUNT";

const ROUNDS: u64 = 2_000;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    reply.put(request.bytes())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Makes blocking round trips of 64 bytes without descriptors.
fn blocking<L: Launch>(worker: &mut Worker<u64, L>, rounds: u64) {
    for tag in 0..rounds {
        worker.call_until(Call::new(1, &[&[7; 64]]), tag, soon(), |event| check(&event)).unwrap();
    }
}

/// Makes the same round trips one at a time in a poll loop.
fn in_a_poll_loop<L: Launch>(worker: &mut Worker<u64, L>, rounds: u64) {
    for tag in 0..rounds {
        worker.try_call(Call::new(1, &[&[7; 64]]), tag).unwrap();
        worker.turn(Instant::now());
        let mut is_done = false;
        while !is_done {
            let deadline = worker.next_deadline().unwrap_or_else(soon);
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
            worker.turn(Instant::now());
            while let Some(event) = worker.next_event() {
                check(&event);
                is_done = true;
            }
        }
    }
}

/// Two processes place and wait in turn, each with a deadline, and the parent with a pidfd.
fn at_a_barrier(rounds: u64) {
    let barrier = Barrier::new().unwrap();
    match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            for _ in 0..rounds {
                end.wait_next_until(soon()).unwrap();
                assert!(end.place().is_ok());
            }
            exit(0);
        }
        Fork::Parent(mut child) => {
            let mut end = barrier.into_parent().watching(&child).unwrap();
            for _ in 0..rounds {
                assert!(end.place().is_ok());
                end.wait_next_until(soon()).unwrap();
            }
            child.wait_until(soon()).unwrap();
        }
    }
}

fn check(event: &Event<'_, u64>) {
    match event {
        Event::Done { outcome: Outcome::Reply(reply), .. } if reply.bytes() == [7; 64] => {}
        other => panic!("{other:?}"),
    }
}

/// Runs this program under strace, and returns the number of calls by name.
fn traced(way: &str, rounds: u64) -> BTreeMap<String, u64> {
    let summary = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(summary.path())
        .arg(std::env::current_exe().unwrap())
        .env(WAY, way)
        .env(COUNT, rounds.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let summary = std::fs::read_to_string(summary.path()).unwrap();
    // Each line: share, seconds, µs per call, calls, errors if any, name.
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(((*words.last()?).to_owned(), words.get(3)?.parse().ok()?))
    };
    summary.lines().filter_map(line).collect()
}

fn needs_strace() {
    if Command::new("strace").arg("--version").output().is_err() {
        skip("counting system calls", "apt-get install strace");
    }
}

/// System calls per round trip: the difference between a longer and a shorter run, so that start
/// and end do not count. The check of the worker's process every 10 ms is not counted either: how
/// often it happens depends on time.
fn per_round_trip(way: &str) -> f64 {
    needs_strace();
    let calls = |rounds| {
        let calls = traced(way, rounds);
        calls.get("total").unwrap() - calls.get("waitid").copied().unwrap_or(0)
    };
    let added = calls(2 * ROUNDS) - calls(ROUNDS);
    #[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
    let per_round = added as f64 / ROUNDS as f64;
    println!("{way}: {per_round:.3} system calls per round trip");
    per_round
}

fn a_blocking_round_trip_costs_4_system_calls() {
    let calls = per_round_trip("blocking");
    assert!((3.99..4.02).contains(&calls), "{calls}");
}

fn a_round_trip_in_a_poll_loop_costs_5_system_calls() {
    let calls = per_round_trip("poll");
    assert!((4.99..5.05).contains(&calls), "{calls}");
}

/// How often a side finds the other one asleep depends on scheduling. The cost of a sleep does not:
/// a poll, a read of the bell, and the ring that ends it.
fn a_sleep_to_a_deadline_at_a_barrier_costs_a_poll_a_read_and_a_ring() {
    if kernel() < (6, 4) {
        skip("counting the calls of a sleep at a barrier", "Linux 6.4 or later");
    }
    needs_strace();
    let made = traced("barrier", 2 * ROUNDS);
    let calls = |name: &str| made.get(name).copied().unwrap_or(0);
    let sleeps = calls("poll") + calls("ppoll") + calls("ppoll_time64");
    let (rings, reads) = (calls("pwritev2"), calls("preadv2"));
    println!("{sleeps} sleeps, {rings} rings, {reads} reads of a bell");
    assert!(sleeps > 200 && rings.abs_diff(sleeps) <= 25, "{made:?}");
    assert!(reads <= sleeps, "{made:?}");
    assert_eq!(calls("epoll_pwait") + calls("timerfd_settime") + calls("uname"), 0, "{made:?}");
}

/// valgrind unmaps the vDSO, which rustix reads; so the clock is not read through rustix.
fn repro_a_program_runs_under_valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        skip("running under valgrind", "apt-get install valgrind");
    }
    for way in ["blocking", "poll", "barrier"] {
        let status = Command::new("valgrind")
            .args(["--quiet", "--trace-children=yes", "--error-exitcode=99"])
            .arg(std::env::current_exe().unwrap())
            .env(WAY, way)
            .env(COUNT, "100")
            .status()
            .unwrap();
        assert!(status.success(), "{way}: {status}");
    }
}

fn kernel() -> (u32, u32) {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn main() -> std::process::ExitCode {
    let Ok(way) = std::env::var(WAY) else {
        return ipc_tests_main();
    };
    let rounds = std::env::var(COUNT).unwrap().parse().unwrap();
    if way == "barrier" {
        at_a_barrier(rounds);
        return std::process::ExitCode::SUCCESS;
    }
    let mut worker = Worker::<u64, _>::start(over::fork(handle)).unwrap();
    match way.as_str() {
        "blocking" => blocking(&mut worker, rounds),
        _ => in_a_poll_loop(&mut worker, rounds),
    }
    worker.stop(soon(), |_| ());
    std::process::ExitCode::SUCCESS
}

cases! {
    ipc_tests_main =
    a_blocking_round_trip_costs_4_system_calls,
    a_round_trip_in_a_poll_loop_costs_5_system_calls,
    a_sleep_to_a_deadline_at_a_barrier_costs_a_poll_a_read_and_a_ring,
    repro_a_program_runs_under_valgrind,
}
