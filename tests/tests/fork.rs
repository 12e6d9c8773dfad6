//! fork, what guards the child, and the child's life and end, also where a sandbox refuses the
//! newer system calls.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and calls what the library has no use for"
)]

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use ipc_barrier::{Barrier, Child, Ended, Fork, ForkError, StillRunning, Unmet, exit, fork};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::storm::Storm;
use ipc_tests::{cases, fds, seccomp};
use ipc_transport::{Instant, close_all_but};
use ipc_worker::{Call, Event, Outcome, Refusal, Reply, Request, Restart, Start, Worker};
use rustix::process::{Pid, Signal};

/// Tells through a socket that it was dropped.
struct Tattle(OwnedFd);

impl Drop for Tattle {
    fn drop(&mut self) {
        _ = rustix::io::write(&self.0, b"dropped");
    }
}

/// Runs a parent's program in a process of its own, with a value that must not be dropped by the
/// child; returns what was heard, once all processes have ended.
fn heard_of(parent: impl FnOnce(&Tattle) -> Result<(), ForkError>) -> String {
    let (mut ear, mouth) = UnixStream::pair().unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut main = forked(|| {
        let tattle = Tattle(mouth.try_clone().unwrap().into());
        if let Err(error) = parent(&tattle) {
            panic!("{error}");
        }
        // Main itself ends without a word.
        std::mem::forget(tattle);
    });
    drop(mouth);
    let mut heard = String::new();
    ear.read_to_string(&mut heard).unwrap();
    assert_eq!(end_of(&mut main), Ended::Exited(0));
    heard
}

fn expect_101(fork: Fork) {
    if let Fork::Parent(mut child) = fork {
        assert_eq!(end_of(&mut child), Ended::Exited(101));
    }
}

fn a_child_that_returns_by_question_mark_exits_101_and_drops_nothing_of_the_parent() {
    fn set_up() -> Result<(), ForkError> {
        Err(ForkError::ThreadsUnknown)
    }
    fn program() -> Result<Option<Child>, ForkError> {
        match fork()? {
            Fork::Child(_guard) => {
                set_up()?;
                exit(0);
            }
            Fork::Parent(child) => Ok(Some(child)),
        }
    }
    let heard = heard_of(|_tattle| {
        let mut child = program()?.unwrap();
        assert_eq!(end_of(&mut child), Ended::Exited(101));
        Ok(())
    });
    assert_eq!(heard, "");
}

fn a_child_that_panics_exits_101_and_drops_nothing_of_the_parent() {
    let heard = heard_of(|_tattle| {
        match fork()? {
            Fork::Child(_guard) => panic!("on purpose"),
            Fork::Parent(mut child) => assert_eq!(end_of(&mut child), Ended::Exited(101)),
        }
        Ok(())
    });
    assert_eq!(heard, "");
}

fn a_child_that_comes_to_the_end_of_its_arm_exits_101() {
    let heard = heard_of(|tattle| {
        match fork()? {
            Fork::Child(_guard) => {}
            Fork::Parent(mut child) => {
                assert_eq!(end_of(&mut child), Ended::Exited(101));
                return Ok(());
            }
        }
        _ = rustix::io::write(&tattle.0, b"went on");
        Ok(())
    });
    assert_eq!(heard, "");
}

fn a_child_that_nobody_asks_for_exits_101() {
    let heard = heard_of(|tattle| {
        expect_101(fork()?);
        // A pattern that does not match drops the guard too.
        if let Fork::Parent(mut child) = fork()? {
            assert_eq!(end_of(&mut child), Ended::Exited(101));
            return Ok(());
        }
        _ = rustix::io::write(&tattle.0, b"went on");
        Ok(())
    });
    assert_eq!(heard, "");
}

fn a_disarmed_guard_lets_the_child_go_on_as_a_program_of_its_own() {
    let heard = heard_of(|tattle| {
        match fork()? {
            Fork::Child(guard) => guard.disarm(),
            Fork::Parent(mut child) => {
                assert_eq!(end_of(&mut child), Ended::Exited(0));
                return Ok(());
            }
        }
        _ = rustix::io::write(&tattle.0, b"went on");
        Ok(())
    });
    assert_eq!(heard, "went on");
}

fn exit_runs_no_exit_handlers() {
    extern "C" fn handler() {
        // SAFETY: the call does not return, and no other thread exists.
        unsafe { libc::_exit(55) };
    }
    // SAFETY: the handler is a function without arguments that lives for ever.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
    let mut child = forked(|| exit(4));
    assert_eq!(end_of(&mut child), Ended::Exited(4));
}

fn a_second_thread_is_refused_with_their_count() {
    for count in 2..5 {
        let threads: Vec<_> = (1..count)
            .map(|_| {
                let (end, wait) = mpsc::channel::<()>();
                (end, std::thread::spawn(move || _ = wait.recv()))
            })
            .collect();
        assert_eq!(fork().unwrap_err(), ForkError::Threads { count });
        for (end, thread) in threads {
            drop(end);
            thread.join().unwrap();
        }
        // A joined thread may stand in the kernel's list for a moment.
        let limit = soon();
        let mut child = loop {
            match fork() {
                Ok(Fork::Child(_guard)) => exit(0),
                Ok(Fork::Parent(child)) => break child,
                Err(error) => assert!(Instant::now() < limit, "{error}"),
            }
        };
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

fn fork_raw_gives_the_same_two_sides() {
    // SAFETY: the child only makes system calls.
    match unsafe { ipc_barrier::fork_raw() }.unwrap() {
        Fork::Child(_guard) => exit(6),
        Fork::Parent(mut child) => assert_eq!(end_of(&mut child), Ended::Exited(6)),
    }
    // SAFETY: as above.
    expect_101(unsafe { ipc_barrier::fork_raw() }.unwrap());
}

fn a_child_exits_with_its_status() {
    for status in [0, 1, 42, 101, 255] {
        let mut child = forked(|| exit(status));
        let ended = end_of(&mut child);
        assert_eq!(ended, Ended::Exited(u8::try_from(status).unwrap()));
        assert_eq!(child.try_wait(), Some(ended), "from memory");
        assert_eq!(child.wait_until(Instant::from_nanoseconds(0)), Ok(ended));
    }
    assert!(fds::children().is_empty());
}

fn a_child_is_ended_by_its_signal() {
    for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGABRT, libc::SIGSEGV, libc::SIGRTMAX()] {
        let mut child = forked(|| {
            // SAFETY: no memory is involved; the default action ends this process.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
            // SAFETY: as above.
            unsafe { libc::raise(signal) };
        });
        assert_eq!(end_of(&mut child), Ended::Killed(u8::try_from(signal).unwrap()));
    }
}

fn sleeper() -> Child {
    forked(|| std::thread::sleep(Duration::from_secs(600)))
}

fn kill_ends_a_child_and_leaves_one_that_has_ended() {
    let mut child = sleeper();
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
    child.kill().unwrap();
    let mut child = forked(|| exit(5));
    // Ended but not reaped: its status stays.
    wait_for_zombie(&child);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Exited(5));
    assert!(fds::children().is_empty());
}

fn wait_for_zombie(child: &Child) {
    let limit = soon();
    let stat = format!("/proc/{}/stat", child.pid());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z") {
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn a_stopped_child_has_not_ended() {
    let mut child = sleeper();
    let pid = Pid::from_raw(child.pid()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(child.wait_until(deadline), Err(StillRunning));
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

fn wait_until_runs_out_at_its_deadline_and_may_be_waited_on_again() {
    let mut child = sleeper();
    let _storm = Storm::begin(Duration::from_micros(150));
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_millis(40);
        assert_eq!(child.wait_until(deadline), Err(StillRunning));
        let late = Instant::now().since(deadline);
        assert!(Instant::now() >= deadline && late < Duration::from_secs(5), "{late:?}");
    }
    assert_eq!(child.wait_until(Instant::from_nanoseconds(0)), Err(StillRunning));
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

fn a_status_taken_by_another_wait_is_unknown() {
    let mut child = forked(|| exit(5));
    // SAFETY: the status is not asked for.
    let waited = unsafe { libc::waitpid(child.pid(), std::ptr::null_mut(), 0) };
    assert_eq!(waited, child.pid());
    assert_eq!(end_of(&mut child), Ended::Unknown);
    child.kill().unwrap();
    // A program that lets the kernel reap its children has no status either.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut child = sleeper();
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Unknown);
}

fn many_children_leave_no_descriptor_and_no_zombie() {
    let before = fds::open();
    for _ in 0..100 {
        let mut child = forked(|| exit(0));
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty());
}

fn a_barrier_in_a_child_of_many_threads_works() {
    let (end, wait) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    let barrier = Barrier::new().unwrap();
    // SAFETY: the child only makes system calls: nothing of the barrier's allocates or locks.
    let mut child = match unsafe { ipc_barrier::fork_raw() }.unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            // Two answers, the second of which comes after the parent has met.
            let met = end.place() && end.place_and_sync_until(soon()).is_ok();
            end.fail(ipc_barrier::Stage(1), ipc_transport::Errno(2), "thus");
            exit(i32::from(!met));
        }
        Fork::Parent(child) => child,
    };
    let mut parent = barrier.into_parent();
    assert_eq!(parent.place_and_sync_until(soon()), Ok(()));
    parent.place();
    assert!(matches!(parent.wait_abortion_until(soon()), Unmet::Aborted(Some(_))));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
    drop(end);
    thread.join().unwrap();
}

const PID: u16 = 1;
const OPEN_FDS: u16 = 2;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        PID => reply.put(&std::process::id().to_le_bytes()),
        OPEN_FDS => reply.put(&u32::try_from(fds::open().len()).unwrap().to_le_bytes()),
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

/// What has to work whatever a sandbox refuses.
fn everything_works() {
    let barrier = Barrier::new().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            for _ in 0..100 {
                assert_eq!(end.place_and_sync_until(soon()), Ok(()));
            }
            std::thread::sleep(Duration::from_secs(600));
            exit(1);
        }
        Fork::Parent(child) => child,
    };
    assert!(child.pidfd().is_none(), "it is refused");
    let mut end = barrier.into_parent().watching(&child).unwrap();
    for _ in 0..100 {
        assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    }
    let deadline = Instant::now() + Duration::from_millis(30);
    assert_eq!(child.wait_until(deadline), Err(StillRunning));
    assert!(Instant::now() >= deadline);
    assert_eq!(end.try_wait_abortion(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
    assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
    child.kill().unwrap();

    let start = Start::fork(handle).restart(Restart::AT_ONCE);
    let mut worker = Worker::<u32, _>::start(start).unwrap();
    let first = number(&mut worker, PID);
    assert_ne!(first, std::process::id());
    assert_eq!(number(&mut worker, OPEN_FDS), 4, "0, 1, 2 and the socket");
    let pid = Pid::from_raw(worker.pid().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let second = number(&mut worker, PID);
    assert_ne!(first, second, "a new worker");
    assert_eq!(number(&mut worker, OPEN_FDS), 4);
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
    assert!(fds::children().is_empty());
}

fn number<H: ipc_worker::Handler>(worker: &mut Worker<u32, H>, method: u16) -> u32 {
    let mut number = None;
    while number.is_none() {
        worker
            .call_until(Call::new(method, &[]), 0, soon(), |event| match event {
                Event::Done { outcome: Outcome::Reply(reply), .. } => {
                    number = Some(u32::from_le_bytes(reply.bytes().try_into().unwrap()));
                }
                // Lost in a worker that was just killed: again.
                Event::Done { outcome: Outcome::Lost(_), .. }
                | Event::Died(_)
                | Event::Started { .. } => {}
                _ => panic!("neither answered nor lost"),
            })
            .unwrap();
    }
    number.unwrap()
}

fn where_a_sandbox_refuses_the_newer_calls_everything_works() {
    seccomp::refuse(&seccomp::NEWER, libc::EPERM);
    everything_works();
}

fn where_an_old_kernel_lacks_the_newer_calls_everything_works() {
    seccomp::refuse(&seccomp::NEWER, libc::ENOSYS);
    everything_works();
}

fn where_unshare_is_refused_threads_are_still_counted() {
    let (end, wait) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    seccomp::refuse(&seccomp::NEWER, libc::EPERM);
    assert_eq!(fork().unwrap_err(), ForkError::Threads { count: 2 });
    drop(end);
    thread.join().unwrap();
}

fn where_proc_cannot_be_read_either_the_threads_are_unknown() {
    seccomp::refuse(&[libc::SYS_unshare, libc::SYS_openat], libc::EPERM);
    assert_eq!(fork().unwrap_err(), ForkError::ThreadsUnknown);
}

/// Opens a few hundred, keeps some, and returns what is open afterwards.
fn kept_of(keep: &[usize]) {
    let null = std::fs::File::open("/dev/null").unwrap();
    let open: Vec<OwnedFd> = (0..600).map(|_| null.try_clone().unwrap().into()).collect();
    let mut list: Vec<i32> = keep.iter().map(|&index| open[index].as_raw_fd()).collect();
    let mut expected = list.clone();
    list.extend([0, 2, 2]);
    expected.extend([0, 1, 2]);
    expected.sort_unstable();
    expected.dedup();
    // SAFETY: all that owns a descriptor is forgotten.
    unsafe { close_all_but(&list) }.unwrap();
    std::mem::forget((null, open));
    assert_eq!(fds::open(), expected);
}

fn every_descriptor_but_the_listed_is_closed() {
    kept_of(&[599, 7, 3, 3, 8, 300, 0]);
}

fn with_nothing_listed_only_the_standard_streams_stay() {
    kept_of(&[]);
}

fn without_close_range_the_same_are_closed() {
    seccomp::refuse(&[libc::SYS_close_range], libc::EPERM);
    kept_of(&[599, 7, 3, 3, 8, 300, 0]);
    kept_of(&[]);
}

cases! {
    a_child_that_returns_by_question_mark_exits_101_and_drops_nothing_of_the_parent,
    a_child_that_panics_exits_101_and_drops_nothing_of_the_parent,
    a_child_that_comes_to_the_end_of_its_arm_exits_101,
    a_child_that_nobody_asks_for_exits_101,
    a_disarmed_guard_lets_the_child_go_on_as_a_program_of_its_own,
    exit_runs_no_exit_handlers,
    a_second_thread_is_refused_with_their_count,
    fork_raw_gives_the_same_two_sides,
    a_child_exits_with_its_status,
    a_child_is_ended_by_its_signal,
    kill_ends_a_child_and_leaves_one_that_has_ended,
    a_stopped_child_has_not_ended,
    wait_until_runs_out_at_its_deadline_and_may_be_waited_on_again,
    a_status_taken_by_another_wait_is_unknown,
    many_children_leave_no_descriptor_and_no_zombie,
    a_barrier_in_a_child_of_many_threads_works,
    where_a_sandbox_refuses_the_newer_calls_everything_works,
    where_an_old_kernel_lacks_the_newer_calls_everything_works,
    where_unshare_is_refused_threads_are_still_counted,
    where_proc_cannot_be_read_either_the_threads_are_unknown,
    every_descriptor_but_the_listed_is_closed,
    with_nothing_listed_only_the_standard_streams_stay,
    without_close_range_the_same_are_closed,
}
