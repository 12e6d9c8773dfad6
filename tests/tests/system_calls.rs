//! How many system calls a round trip costs, as strace counts them on both sides together.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use ipc_tests::cases;
use ipc_tests::cases::skip;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
use std::os::fd::AsFd;

/// Tells this program that it is the one to be traced: how, and how often.
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
fn blocking(worker: &mut Worker<u64>, rounds: u64) {
    for tag in 0..rounds {
        worker.call_until(Call::new(1, &[&[7; 64]]), tag, soon(), |event| check(&event)).unwrap();
    }
}

/// Makes the same round trips one at a time in a poll loop.
fn in_a_poll_loop(worker: &mut Worker<u64>, rounds: u64) {
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

fn check(event: &Event<'_, u64>) {
    match event {
        Event::Done { outcome: Outcome::Reply(reply), .. } if reply.bytes() == [7; 64] => {}
        other => panic!("{other:?}"),
    }
}

/// Runs this program under strace and returns how many calls it made in all, but for the look at
/// the worker's process every 10 ms: how many of those there are depends on the time it takes.
fn traced(way: &str, rounds: u64) -> u64 {
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
    // Each line: share, seconds, per call, calls, errors if any, name.
    let calls = |name: &str| -> u64 {
        let line = summary.lines().rfind(|line| line.split_whitespace().last() == Some(name));
        line.map_or(0, |line| line.split_whitespace().nth(3).unwrap().parse().unwrap())
    };
    calls("total") - calls("waitid")
}

/// The calls of one round trip: what more rounds add, so that start and end do not count.
fn per_round_trip(way: &str) -> f64 {
    let installed = Command::new("strace").arg("--version").output().is_ok();
    if !installed {
        skip("counting system calls", "apt-get install strace");
    }
    let added = traced(way, 2 * ROUNDS) - traced(way, ROUNDS);
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

fn main() -> std::process::ExitCode {
    let Ok(way) = std::env::var(WAY) else {
        return ipc_tests_main();
    };
    let rounds = std::env::var(COUNT).unwrap().parse().unwrap();
    let mut worker = Worker::<u64>::start(Start::fork(handle)).unwrap();
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
}
