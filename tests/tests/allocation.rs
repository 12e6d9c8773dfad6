//! Neither main nor the worker allocates after the start: 10,000 requests and some one-ways under a
//! counting allocator.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use ipc_tests::over;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_tests::cases;
use ipc_tests::counting::Counting;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Call, Event, Instant, Launch, Outcome, Refusal, Reply, Request, Start, Worker};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ECHO: u16 = 1;
const COUNT: u16 = 2;
const ALLOCATE: u16 = 3;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        ECHO => reply.put(request.bytes()),
        COUNT => reply.put(&Counting::count().to_le_bytes()),
        ALLOCATE => reply.put(&vec![1; request.bytes().len() + 1]),
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Asks the worker for its count.
fn count_in<L: Launch>(worker: &mut Worker<u32, L>, method: u16) -> usize {
    let mut count = None;
    worker
        .call_until(Call::new(method, &[]), 0, soon(), |event| match event {
            Event::Done { outcome: Outcome::Reply(reply), .. } => {
                count = reply.bytes().try_into().ok().map(usize::from_le_bytes);
            }
            other => panic!("{other:?}"),
        })
        .unwrap();
    count.unwrap_or(0)
}

/// Half of the requests are blocking calls and half run in a poll loop; every tenth has a
/// descriptor.
fn run<L: Launch>(worker: &mut Worker<u32, L>, total: u32) {
    let file = File::open("/dev/null").unwrap();
    let fds = [file.as_fd()];
    let mut done = 0;
    for tag in 0..total / 2 {
        let call = Call::new(ECHO, &[b"some ", b"bytes"]);
        let call = if tag % 10 == 0 { call.fds(&fds) } else { call };
        worker.call_until(call, tag, soon(), |event| done += check(&event)).unwrap();
    }
    let mut made = total / 2;
    let limit = soon();
    while done < total {
        while made < total && worker.has_room() {
            worker.try_call(Call::new(ECHO, &[b"some ", b"bytes"]), made).unwrap();
            if worker.one_ways_under_way() == 0 {
                _ = worker.try_send(Call::new(ECHO, &[b"by the way"]).fds(&fds));
            }
            made += 1;
        }
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            done += check(&event);
        }
        assert!(Instant::now() < limit, "{done} of {total}");
        if worker.under_way() > 0 {
            let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
        }
    }
}

fn check(event: &Event<'_, u32>) -> u32 {
    match event {
        Event::Done { outcome: Outcome::Reply(reply), .. } if reply.bytes() == b"some bytes" => 1,
        other => panic!("{other:?}"),
    }
}

fn ten_thousand_requests_allocate_nothing_on_either_side() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle)).unwrap();
    let before = (Counting::count(), count_in(&mut worker, COUNT));
    run(&mut worker, 10_000);
    let after = (Counting::count(), count_in(&mut worker, COUNT));
    // `run` opens /dev/null without allocating: a short path fits on the stack.
    assert_eq!(after, before, "(main, worker)");
}

fn requests_in_line_allocate_nothing() {
    let mut worker = Worker::<u32, _>::start(Start::inline(handle)).unwrap();
    let before = Counting::count();
    run(&mut worker, 10_000);
    assert_eq!(Counting::count(), before);
}

fn a_restart_allocates_nothing() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle)).unwrap();
    let before = Counting::count();
    let pid = rustix::process::Pid::from_raw(worker.pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let limit = soon();
    loop {
        let mut started = false;
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            started |= matches!(event, Event::Started { .. });
        }
        if started {
            break;
        }
        assert!(Instant::now() < limit);
        let deadline = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    }
    assert_eq!(Counting::count(), before);
}

/// The count shows an allocation in either process.
fn the_count_sees_an_allocation() {
    let mut worker = Worker::<u32, _>::start(over::fork(handle)).unwrap();
    let before = count_in(&mut worker, COUNT);
    worker.call_until(Call::new(ALLOCATE, &[b"x"]), 0, soon(), |_| ()).unwrap();
    assert!(count_in(&mut worker, COUNT) > before);
    let before = Counting::count();
    assert_eq!(vec![0_u8; 100].len(), 100);
    assert!(Counting::count() > before);
}

cases! {
    ten_thousand_requests_allocate_nothing_on_either_side,
    requests_in_line_allocate_nothing,
    a_restart_allocates_nothing,
    the_count_sees_an_allocation,
}
