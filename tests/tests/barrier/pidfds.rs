//! Processes that an end watches through pidfds of any origin.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ipc_barrier::process::pidfd_open;
use ipc_barrier::{Barrier, ChildEnd, Fork, Lane, ParentEnd, PeerAbort, Unmet, exit, fork};
use ipc_tests::cases::skip;
use ipc_tests::forked::{end_of, soon};
use ipc_transport::{Interest, Watched, wait};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// A child that leaves its descriptors to another process, places a token, and exits when told.
fn child<L: Lane>(barrier: Barrier<L>, line: UnixStream) -> ! {
    // The grandchild holds everything until the case ends.
    let copy = line.try_clone().unwrap();
    if let Fork::Child(_guard) = fork().unwrap() {
        drop(line);
        _ = (&copy).read(&mut [0; 2]);
        _ = (&copy).read(&mut [0; 2]);
        exit(0);
    }
    let mut end = barrier.into_child();
    _ = end.place();
    _ = end.wait_abort_until(soon());
    exit(0);
}

/// Checks that a death is seen that only the pidfd shows.
fn death_is_seen<L: Lane>(barrier: Barrier<L>, process: BorrowedFd<'_>, kill: impl FnOnce()) {
    let mut end = barrier.into_parent().watching(process).unwrap();
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(end.peer_abort(), None);
    kill();
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(end.peer_abort(), Some(PeerAbort::Gone));
}

fn signal(pid: i32) {
    let pid = Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub(crate) fn a_child_of_libcs_fork_is_watched<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let (_line, theirs) = UnixStream::pair().unwrap();
    // SAFETY: there is one thread.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(_line);
        child(barrier, theirs);
    }
    let Ok(pidfd) = pidfd_open(pid) else { skip("a pidfd", "Linux 5.3 or later") };
    death_is_seen(barrier, pidfd.as_fd(), || signal(pid));
    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
}

/// clone3(2) creates the pidfd with the child.
pub(crate) fn a_child_of_clone3_is_watched<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let (_line, theirs) = UnixStream::pair().unwrap();
    let mut pidfd: i32 = -1;
    // The first eight fields of `struct clone_args`: flags, pidfd, child_tid, parent_tid, signal.
    let mut args = [0_u64; 8];
    args[0] = libc::CLONE_PIDFD as u64;
    args[1] = (&raw mut pidfd).expose_provenance() as u64;
    args[4] = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has separate memory; there is one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args.as_mut_ptr(), size_of_val(&args)) };
    if pid < 0 {
        skip("clone3", "Linux 5.3 or later");
    }
    if pid == 0 {
        drop(_line);
        child(barrier, theirs);
    }
    // SAFETY: the kernel just opened it for this process.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = i32::try_from(pid).unwrap();
    death_is_seen(barrier, pidfd.as_fd(), || signal(pid));
    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap();
}

/// Another process holds the parent's descriptors, so only the pidfd shows the parent's death.
pub(crate) fn a_child_watches_its_parent<L: Lane>() {
    let (mut line, theirs) = UnixStream::pair().unwrap();
    let mut parent = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(line);
            let barrier = Barrier::<L>::open().unwrap();
            let (ready, hold) = UnixStream::pair().unwrap();
            if let Fork::Child(_guard) = fork().unwrap() {
                drop(ready);
                watches_its_parent(barrier, theirs, hold);
            }
            let _end: ParentEnd<L> = barrier.into_parent();
            // A process that outlives the parent and holds its descriptors.
            if let Fork::Child(_guard) = fork().unwrap() {
                _ = (&theirs).read(&mut [0]);
                exit(0);
            }
            (&ready).read_exact(&mut [0]).unwrap();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    drop(theirs);
    end_of(&mut parent);
    let mut answer = [0];
    line.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    line.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'g']);
    line.write_all(b"x").unwrap();
}

fn watches_its_parent<L: Lane>(barrier: Barrier<L>, mut line: UnixStream, hold: UnixStream) -> ! {
    let parent = rustix::process::getppid().unwrap();
    let pidfd = pidfd_open(parent.as_raw_nonzero().get()).unwrap();
    let mut end: ChildEnd<L> = barrier.into_child().watching(pidfd.as_fd()).unwrap();
    assert_eq!(end.try_wait_next(), Ok(false));
    (&hold).write_all(b"x").unwrap();
    let unmet = end.wait_next_until(soon());
    line.write_all(if unmet == Err(Unmet::Gone) { b"g" } else { b"?" }).unwrap();
    exit(0);
}

/// Watching another process replaces the first one, also in an event loop's descriptor.
pub(crate) fn a_process_that_is_not_watched_any_more_shows_nothing<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let (_line, theirs) = UnixStream::pair().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(_line);
            child(barrier, theirs);
        }
        Fork::Parent(child) => child,
    };
    let mut other = ipc_tests::forked::forked(|| exit(0));
    let mut end = barrier.into_parent().watching(&other).unwrap();
    end.watch().unwrap();
    let mut end = end.watching(&child).unwrap();
    end_of(&mut other);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert!(end.arm());
    let at_once = Some(ipc_transport::Instant::PAST);
    let mut watched = [Watched::new(end.watch().unwrap(), Interest::Input)];
    assert_eq!(wait(&mut watched, at_once), Ok(false), "the first one's end does not show");
    child.kill().unwrap();
    let mut watched = [Watched::new(end.watch().unwrap(), Interest::Input)];
    assert_eq!(wait(&mut watched, Some(soon())), Ok(true));
    assert_eq!(end.try_wait_abort(), Some(PeerAbort::Gone));
    end_of(&mut child);
}
