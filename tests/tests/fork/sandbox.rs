//! A sandbox or an old kernel that refuses newer system calls.

use std::time::Duration;

use ipc_barrier::{Barrier, Ended, Fork, PeerAbort, exit, fork};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::{fds, seccomp};
use ipc_transport::Instant;
use ipc_worker::{Call, Event, Launch, Outcome, Refusal, Reply, Request, Restart, Start, Worker};
use rustix::process::{Pid, Signal};

const PID: u16 = 1;
const OPEN_FDS: u16 = 2;

fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        PID => reply.put(&std::process::id().to_le_bytes()),
        OPEN_FDS => reply.put(&u32::try_from(fds::open().len()).unwrap().to_le_bytes()),
        _ => Err(Refusal::UNKNOWN_METHOD),
    }
}

/// Everything that must work whatever a sandbox refuses.
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
    assert!(child.pidfd().is_none(), "pidfd_open is refused");
    let mut end = barrier.into_parent().watching(&child).unwrap();
    for _ in 0..100 {
        assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    }
    let deadline = Instant::now() + Duration::from_millis(30);
    assert_eq!(child.wait_until(deadline), None);
    assert!(Instant::now() >= deadline);
    assert_eq!(end.try_wait_abort(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
    assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
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

fn number(worker: &mut Worker<u32, impl Launch>, method: u16) -> u32 {
    let mut number = None;
    while number.is_none() {
        worker
            .call_until(Call::new(method, &[]), 0, soon(), |event| match event {
                Event::Done { outcome: Outcome::Reply(reply), .. } => {
                    number = Some(u32::from_le_bytes(reply.bytes().try_into().unwrap()));
                }
                // Lost with a worker that was just killed: try again.
                Event::Done { outcome: Outcome::Lost(_), .. }
                | Event::Died(_)
                | Event::Started { .. } => {}
                _ => panic!("neither answered nor lost"),
            })
            .unwrap();
    }
    number.unwrap()
}

pub(crate) fn repro_a_sandbox_that_refuses_waitid_does_not_end_a_child() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let mut tried = forked(|| {
            seccomp::refuse(&[libc::SYS_waitid], errno);
            let mut child = forked(|| std::thread::sleep(Duration::from_secs(600)));
            assert_eq!(child.try_wait(), None, "it runs");
            child.kill().unwrap();
            assert_eq!(end_of(&mut child), Ended::Killed(9));
            assert_eq!(forked(|| exit(3)).wait(), Ended::Exited(3));
        });
        assert_eq!(end_of(&mut tried), Ended::Exited(0));
    }
}

/// wait4 also reports stops to the tracer.
pub(crate) fn a_traced_child_that_stops_has_not_ended_where_waitid_is_refused() {
    let mut tried = forked(|| {
        seccomp::refuse(&[libc::SYS_waitid], libc::EPERM);
        let mut child = forked(|| {
            // SAFETY: the request makes the parent the tracer and touches no memory.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            // SAFETY: no memory is involved.
            unsafe { libc::raise(libc::SIGSTOP) };
        });
        assert_eq!(child.wait_until(Instant::now() + Duration::from_millis(100)), None);
        child.kill().unwrap();
        assert_eq!(end_of(&mut child), Ended::Killed(9));
    });
    assert_eq!(end_of(&mut tried), Ended::Exited(0));
}

pub(crate) fn repro_where_every_wait_is_refused_a_child_runs_until_it_ends() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::ECHILD, libc::EINTR] {
        let mut tried = forked(|| {
            let mut child = forked(|| std::thread::sleep(Duration::from_secs(600)));
            seccomp::refuse(&[libc::SYS_waitid, libc::SYS_wait4], errno);
            assert_eq!(child.try_wait(), None, "it runs");
            assert_eq!(child.wait_until(Instant::now() + Duration::from_millis(20)), None);
            child.kill().unwrap();
            assert_eq!(child.wait(), Ended::Unknown, "its status is not available");
        });
        assert_eq!(end_of(&mut tried), Ended::Exited(0), "{errno}");
    }
}

pub(crate) fn where_a_sandbox_refuses_the_newer_calls_everything_works() {
    seccomp::refuse(&seccomp::NEWER, libc::EPERM);
    everything_works();
}

pub(crate) fn where_an_old_kernel_lacks_the_newer_calls_everything_works() {
    seccomp::refuse(&seccomp::NEWER, libc::ENOSYS);
    everything_works();
}
