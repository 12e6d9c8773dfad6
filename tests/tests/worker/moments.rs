//! Errors that concern a moment or one request do not end the worker.

use ipc_tests::over;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_barrier::{Ended, Fork, exit, fork};
use ipc_tests::cases::skip;
use ipc_tests::forked::{end_of, forked};
use ipc_tests::{fds, seccomp};
use ipc_worker::{Call, Instant, Refusal, Reply, Request, Restart, Worker};
use rustix::process::{Pid, Signal, kill_process};

use crate::handler::*;

const RING: u16 = 200;

fn with_rings(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        RING => {
            reply.put(b"a ring")?;
            reply.put_fd(fds::io_uring(0).ok_or(Refusal::new(1, "no io_uring"))?)
        }
        _ => handle(request, reply),
    }
}

/// The kernel never passes an io_uring. A reply with one becomes a refusal in the same place, and
/// the handler's other replies are unaffected.
pub(crate) fn repro_a_reply_that_cannot_be_passed_is_a_refusal_in_its_place() {
    if fds::io_uring(0).is_none() {
        skip("an io_uring", "a kernel with io_uring, and the right to use it");
    }
    let mut worker = Worker::<u32, _>::start(over::fork(with_rings)).unwrap();
    let pid = worker.pid();
    for round in 0..3 {
        for tag in 0..5 {
            let method = if tag % 2 == 1 { RING } else { ECHO };
            worker.try_call(Call::new(method, &[b"echo"]).reply_fds(1), 10 * round + tag).unwrap();
        }
        let list = turn_until(&mut worker, |list| list.len() >= 5);
        let expected = |tag| match tag % 2 {
            1 => Told::Refused(10 * round + tag, libc::EINVAL),
            _ => Told::Reply(10 * round + tag, b"echo".to_vec()),
        };
        assert_eq!(list, (0..5).map(expected).collect::<Vec<_>>());
    }
    assert_eq!(worker.pid(), pid);
}

/// A blocking handler does not delay finished replies.
pub(crate) fn repro_a_slow_request_holds_no_finished_reply() {
    let mut worker = worker();
    for round in 0..3 {
        let begun = Instant::now();
        worker.try_call(Call::new(ECHO, &[b"fast"]), 10 * round).unwrap();
        let time = 400_u64.to_le_bytes();
        worker.try_call(Call::new(SLEEP_MS, &[&time]), 10 * round + 1).unwrap();
        let first = turn_until(&mut worker, |list| !list.is_empty());
        assert_eq!(first[0], Told::Reply(10 * round, b"fast".to_vec()));
        // The slow reply was not there yet, so the first one did not wait for it.
        assert_eq!(first.len(), 1, "after {:?}", Instant::now().since(begun));
        turn_until(&mut worker, |list| !list.is_empty());
    }
}

/// Kills the worker while a second thread exists for some time.
pub(crate) fn repro_a_thread_that_lives_for_a_while_delays_a_restart_only() {
    let restart = Restart::STANDARD.delay(Duration::from_millis(10));
    let mut worker = Worker::<u32, _>::start(over::fork(handle).restart(restart)).unwrap();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    kill(&worker);
    worker.try_call(Call::new(ECHO, &[b"later"]), 1).unwrap();
    let list = turn_until(&mut worker, |list| matches!(list.last(), Some(Told::NotStarted(_))));
    assert!(matches!(list[0], Told::Died(Ended::Killed(9))), "{list:?}");
    let Some(Told::NotStarted(reason)) = list.last() else { panic!("{list:?}") };
    assert!(reason.contains("threads"), "{reason}");
    drop(done);
    thread.join().unwrap();
    let list = turn_until(&mut worker, |list| list.contains(&Told::Reply(1, b"later".to_vec())));
    assert!(list.iter().any(|told| matches!(told, Told::Started(_))), "{list:?}");
}

fn kill<L: ipc_worker::Launch>(worker: &Worker<u32, L>) {
    kill_process(Pid::from_raw(worker.pid().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Queued requests duplicate descriptors until none are left, but the next worker needs some.
pub(crate) fn repro_what_is_queued_uses_up_no_descriptor_of_a_restart() {
    let mut worker = worker();
    let file = fds::file();
    fds::limit(u64::try_from(fds::open().len()).unwrap() + 12);
    let time = 100_u64.to_le_bytes();
    worker.try_call(Call::new(SLEEP_MS, &[&time]), 0).unwrap();
    worker.turn(Instant::now());
    kill(&worker);
    let mut tag = 1;
    while worker.try_call(Call::new(FDS, &[]).fds(&[file.as_fd(); 1]), tag).is_ok() {
        tag += 1;
    }
    // Other code takes the remaining descriptors, too.
    let mut others = Vec::new();
    while let Ok(fd) = ipc_transport::duplicate(file.as_fd()) {
        others.push(fd);
    }
    let done = |told: &&Told| matches!(told, Told::Reply(..));
    let wanted = usize::try_from(tag - 1).unwrap();
    assert!(wanted >= 3);
    turn_until(&mut worker, |list| {
        // Takes every descriptor that becomes free, as fast as possible.
        while let Ok(fd) = ipc_transport::duplicate(file.as_fd()) {
            others.push(fd);
        }
        list.iter().filter(done).count() >= wanted
    });
}

/// Like a second process of main's, made by fork without exec.
pub(crate) fn repro_a_forked_copy_of_the_worker_that_is_dropped_ends_no_worker() {
    let mut worker = worker();
    let pid = call(&mut worker, PID, b"");
    let mut copy = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(worker);
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    assert_eq!(end_of(&mut copy), Ended::Exited(0));
    assert_eq!(call(&mut worker, PID, b""), pid, "the worker still serves");
}

/// Some of main's calls fail with ENOMEM.
pub(crate) fn repro_a_shortage_of_memory_in_main_ends_no_worker() {
    for call in [libc::SYS_recvfrom, libc::SYS_sendto] {
        let mut short = forked(|| {
            let mut worker = worker();
            let Told::Reply(_, pid) = self::call(&mut worker, PID, b"") else { exit(1) };
            seccomp::refuse_at_first(call, libc::ENOMEM, 3);
            worker.try_call(Call::new(PID, &[]), 7).unwrap();
            let list = turn_until(&mut worker, |list| !list.is_empty());
            assert_eq!(list, [Told::Reply(7, pid)]);
        });
        assert_eq!(end_of(&mut short), Ended::Exited(0), "{call}");
    }
}

const NO_MEMORY: u16 = 202;

/// From this request on every send of the worker fails for lack of memory.
fn without_memory(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    if request.method() == NO_MEMORY {
        seccomp::refuse(&[libc::SYS_sendto], libc::ENOMEM);
    }
    handle(request, reply)
}

/// A lasting shortage ends the worker after 10 s, on either side. Both are tried at the same time.
pub(crate) fn a_shortage_that_lasts_ends_the_worker() {
    over::only_the_socket();
    let begun = Instant::now();
    let mut in_main = forked(|| {
        let restart = Restart::NEVER;
        let mut worker = Worker::<u32, _>::start(over::fork(handle).restart(restart)).unwrap();
        seccomp::refuse(&[libc::SYS_recvfrom], libc::ENOMEM);
        worker.try_call(Call::new(ECHO, &[]), 1).unwrap();
        let mut turns = 0;
        let list = turn_until(&mut worker, |list| {
            turns += 1;
            list.len() >= 2
        });
        assert!(matches!(list[0], Told::Died(_)), "{list:?}");
        // Each failed call is followed by a pause, although the reply shows all the time.
        assert!(turns < 20_000, "{turns} turns");
    });
    let mut in_the_worker = forked(|| {
        let start = over::fork(without_memory).restart(Restart::NEVER);
        let mut worker = Worker::<u32, _>::start(start).unwrap();
        worker.try_call(Call::new(NO_MEMORY, &[]), 1).unwrap();
        let list = turn_until(&mut worker, |list| list.len() >= 2);
        assert_eq!(list[0], Told::Died(Ended::Exited(76)), "{list:?}");
    });
    assert_eq!(end_of(&mut in_main), Ended::Exited(0));
    assert_eq!(end_of(&mut in_the_worker), Ended::Exited(0));
    assert!(Instant::now().since(begun) >= Duration::from_secs(9), "main waits first");
}

/// A filter that fails calls with EINTR for ever does not block a turn for ever.
pub(crate) fn repro_an_interruption_without_end_holds_no_turn() {
    over::only_the_socket();
    let mut held = forked(|| {
        let mut worker = worker();
        worker.try_call(Call::new(ECHO, &[b"x"]), 7).unwrap();
        worker.turn(Instant::now());
        seccomp::refuse(&[libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_sendto], libc::EINTR);
        for _ in 0..3 {
            worker.turn(Instant::now());
            _ = worker.next_event();
        }
        exit(3);
    });
    assert_eq!(end_of(&mut held), Ended::Exited(3));
}

const HEIR: u16 = 201;

/// Ends the worker, but leaves a process that keeps sending frames to main at intervals.
fn with_heirs(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    if request.method() != HEIR {
        return handle(request, reply);
    }
    if let Fork::Child(_guard) = fork().unwrap() {
        let stray = ipc_frame::Header::reply(u64::MAX).encode();
        while rustix::io::write(fds::own_socket(), &stray).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        exit(0);
    }
    exit(3);
}

/// When the process is checked does not depend on the socket's traffic.
pub(crate) fn repro_a_trickle_hides_no_death_from_a_blocking_call() {
    let mut worker = Worker::<u32, _>::start(over::fork(with_heirs)).unwrap();
    let mut list = Vec::new();
    let deadline = soon();
    worker.call_until(Call::new(HEIR, &[]), 1, deadline, |event| list.push(told(event))).unwrap();
    // Not by the call's own deadline, which is checked in any case.
    assert!(Instant::now() + Duration::from_secs(10) < deadline, "seen too late");
    let lost = Told::Lost(1, ipc_worker::How::Running);
    assert!(list.contains(&Told::Died(Ended::Exited(3))) && list.contains(&lost), "{list:?}");
}

/// Sleeps as long as the request says, and declares that as slow.
struct Sleeper;

impl ipc_worker::Handler for Sleeper {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        handle(request, reply)
    }

    fn is_quick(&self, method: u16) -> Option<bool> {
        (method == SLEEP_MS).then_some(false)
    }
}

/// Even if it was quick before, which is all that timing would know.
pub(crate) fn what_its_handler_calls_slow_holds_no_finished_reply() {
    let mut worker = Worker::<u32, _>::start(over::fork(Sleeper)).unwrap();
    for tag in 0..60 {
        worker.try_call(Call::new(SLEEP_MS, &[&0_u64.to_le_bytes()]), tag).unwrap();
    }
    turn_until(&mut worker, |list| list.len() >= 60);
    worker.try_call(Call::new(ECHO, &[b"fast"]), 100).unwrap();
    worker.try_call(Call::new(SLEEP_MS, &[&400_u64.to_le_bytes()]), 101).unwrap();
    let first = turn_until(&mut worker, |list| !list.is_empty());
    assert_eq!(first, [Told::Reply(100, b"fast".to_vec())]);
}
