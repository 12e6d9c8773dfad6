//! The event loop examples, run as programs; and what an edge-triggered loop must know.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ipc_tests::over;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Duration;

use ipc_tests::around::proc;
use ipc_tests::forked::soon;
use ipc_tests::{cases, example};
use ipc_worker::{Call, Event, Instant, Refusal, Reply, Request, Worker};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::process::{Pid, Signal, kill_process};

static PROGRAMS: OnceLock<HashMap<&str, PathBuf>> = OnceLock::new();

fn main() -> ExitCode {
    // Once, before the cases: each runs in a separate process.
    let names = ["epoll", "mio", "polling", "calloop", "tokio", "threads"];
    PROGRAMS.set(names.map(|name| (name, example::build("ipc-worker", name))).into()).unwrap();
    run()
}

cases! { run =
    epoll_by_hand_goes_through_a_restart,
    mio_goes_through_a_restart,
    polling_goes_through_a_restart,
    calloop_goes_through_a_restart,
    tokio_goes_through_a_restart,
    tokio_with_many_threads_goes_through_a_restart,
    repro_edge_triggered_a_turn_tells_what_shows_no_more,
    repro_edge_triggered_a_call_hides_no_death,
}

fn epoll_by_hand_goes_through_a_restart() {
    goes_through_a_restart("epoll");
}

fn mio_goes_through_a_restart() {
    goes_through_a_restart("mio");
}

fn polling_goes_through_a_restart() {
    goes_through_a_restart("polling");
}

fn calloop_goes_through_a_restart() {
    goes_through_a_restart("calloop");
}

fn tokio_goes_through_a_restart() {
    goes_through_a_restart("tokio");
}

fn tokio_with_many_threads_goes_through_a_restart() {
    goes_through_a_restart("threads");
}

/// Runs the program, and expects one outcome per request, one death and one successor. How many
/// replies come before the death depends on timing, so it is not checked.
fn goes_through_a_restart(name: &str) {
    let output = Command::new(&PROGRAMS.get().unwrap()[name]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{}: {said}{errors}", output.status);
    let count = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    for tag in 0..6 {
        assert_eq!(count(&format!("request {tag}: ")), 1, "{said}");
    }
    assert_eq!(count("request "), 6, "{said}");
    assert_eq!(count("the worker ended: killed by signal 9"), 1, "{said}");
    assert_eq!(count("a new worker: "), 1, "{said}");
    assert_eq!(said.lines().last(), Some("every request has had one outcome"));
    assert_eq!(errors, "");
}

const REPLY: usize = 100;

fn handle(_: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    reply.put(&[7; REPLY])
}

/// Waits for the worker, and returns whether its descriptor showed anything.
fn shows(epoll: &impl rustix::fd::AsFd, patience: Duration) -> bool {
    let mut ready = Vec::with_capacity(1);
    let patience = Timespec::try_from(patience).unwrap();
    epoll::wait(epoll, spare_capacity(&mut ready), Some(&patience)).unwrap();
    !ready.is_empty()
}

/// The worker's death must show too, even together with its last replies.
fn repro_edge_triggered_a_turn_tells_what_shows_no_more() {
    // A small ring cannot hold all replies: the worker would wait and make new edges.
    over::only_the_socket();
    // Two replies fill main's buffer, so one turn cannot take all of them.
    let start = over::fork(handle);
    let mut worker = Worker::<u32, _, 8, 256>::start(start).unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
    let data = epoll::EventData::new_u64(0);
    epoll::add(&epoll, &worker, data, edge).unwrap();
    for tag in 0..6 {
        worker.try_call(Call::new(1, &[b"some work"]), tag).unwrap();
    }
    worker.turn(Instant::now());
    // Until all replies are in the socket: the worker began, and sleeps again.
    assert!(shows(&epoll, Duration::from_secs(20)));
    let (pid, limit) = (worker.pid().unwrap(), soon());
    while !std::fs::read_to_string(proc(&format!("{pid}/stat"))).unwrap().contains(") S ") {
        assert!(Instant::now() < limit, "the worker has not finished");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The edges of the later replies.
    shows(&epoll, Duration::ZERO);
    let mut outcomes = 0;
    let mut turn = |worker: &mut Worker<u32, _, 8, 256>| {
        let has_more = worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            outcomes += u32::from(matches!(event, Event::Done { .. }));
        }
        (has_more, outcomes)
    };
    // Replies left by a turn make no new edge, so the turn returns that there are more.
    loop {
        let (has_more, outcomes) = turn(&mut worker);
        if !has_more {
            assert_eq!(outcomes, 6);
            break;
        }
        assert!(!shows(&epoll, Duration::ZERO), "{outcomes} outcomes, and a new edge");
    }
    // The end shows by itself; without a pidfd it is polled for at a deadline.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    while worker.pid() == Some(pid) {
        let (now, most) = (Instant::now(), Duration::from_secs(20));
        let patience = worker.next_deadline().map_or(most, |next| next.since(now).min(most));
        let is_shown = shows(&epoll, patience + Duration::from_millis(1));
        let is_due = worker.next_deadline().is_some_and(|next| next <= Instant::now());
        assert!(is_shown || is_due, "the end is not seen");
        while turn(&mut worker).0 {}
    }
}

/// The worker leaves its socket to a child that kills it, so only its pidfd shows the death.
fn leaves_an_heir(_: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
    let worker = rustix::process::getpid();
    let heir = ipc_tests::forked::forked(move || {
        std::thread::sleep(Duration::from_millis(150));
        kill_process(worker, Signal::KILL).unwrap();
        std::thread::sleep(Duration::from_secs(60));
    });
    std::mem::forget(heir);
    Ok(())
}

/// The edge came first, the turn that sent the call did not look further, and nothing was due.
fn repro_edge_triggered_a_call_hides_no_death() {
    let mut worker = Worker::<u32, _>::start(over::fork(leaves_an_heir)).unwrap();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&epoll, &worker, epoll::EventData::new_u64(0), edge).unwrap();
    let pid = worker.pid();
    worker.call_until(Call::new(1, &[]), 0, soon(), |_event| {}).unwrap();
    let limit = soon();
    let stat = proc(&format!("{}/stat", pid.unwrap()));
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        assert!(Instant::now() < limit, "the heir did not kill the worker");
        std::thread::sleep(Duration::from_millis(2));
    }
    while shows(&epoll, Duration::ZERO) {}
    worker.try_call(Call::new(1, &[]), 1).unwrap();
    while worker.pid() == pid {
        while worker.turn(Instant::now()) {
            while worker.next_event().is_some() {}
        }
        while worker.next_event().is_some() {}
        if worker.pid() == pid {
            let (now, most) = (Instant::now(), Duration::from_secs(5));
            let patience = worker.next_deadline().map_or(most, |next| next.since(now).min(most));
            let is_shown = shows(&epoll, patience + Duration::from_millis(1));
            let is_due = worker.next_deadline().is_some_and(|next| next <= Instant::now());
            assert!(is_shown || is_due, "the end is not seen");
        }
    }
}
