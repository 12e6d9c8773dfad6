//! Whether there is a second thread, and how the crate finds out.

use std::sync::mpsc;

use ipc_barrier::{Ended, Errno, Fork, ForkError, exit, fork};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::{cases, fds, seccomp};
use ipc_transport::Instant;

/// The system call that lists /proc.
const LIST: [libc::c_long; 1] = [libc::SYS_getdents64];

pub(crate) fn a_second_thread_is_refused_with_their_count() {
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
        // A joined thread may remain in the kernel's list for a moment.
        forks_in_the_end();
    }
}

fn forks_in_the_end() {
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

/// Runs the function while a second thread exists.
fn beside_a_thread(run: impl FnOnce()) {
    let (end, wait) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || _ = wait.recv());
    run();
    drop(end);
    thread.join().unwrap();
}

fn forks() {
    let mut child = forked(|| exit(0));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn where_unshare_is_refused_one_thread_forks() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let mut child = forked(|| {
            seccomp::refuse(&[libc::SYS_unshare], errno);
            forks();
        });
        assert_eq!(end_of(&mut child), Ended::Exited(0), "{errno}");
    }
}

pub(crate) fn where_unshare_is_refused_threads_are_still_counted() {
    beside_a_thread(|| {
        seccomp::refuse(&seccomp::NEWER, libc::EPERM);
        assert_eq!(fork().unwrap_err(), ForkError::Threads { count: 2 });
    });
}

/// Kernels before 4.3 do this while another process reads /proc/PID. Here /proc cannot be read, so
/// the answer comes from the second attempt.
pub(crate) fn where_unshare_answers_einval_by_mistake_it_is_asked_again() {
    seccomp::refuse(&LIST, libc::EPERM);
    for times in [1, 3] {
        let mut child = forked(|| {
            seccomp::refuse_at_first(libc::SYS_unshare, libc::EINVAL, times);
            forks();
        });
        assert_eq!(end_of(&mut child), Ended::Exited(0), "{times} times");
    }
    // If the error persists it is believed, after a limited number of attempts.
    let mut child = forked(|| {
        seccomp::refuse_at_first(libc::SYS_unshare, libc::EINVAL, 1_000);
        unknown(libc::EINVAL, libc::EPERM);
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn where_unshare_always_answers_einval_threads_are_counted() {
    seccomp::refuse(&[libc::SYS_unshare], libc::EINVAL);
    forks();
    beside_a_thread(|| assert_eq!(fork().unwrap_err(), ForkError::Threads { count: 2 }));
}

pub(crate) fn where_proc_cannot_be_read_either_the_threads_are_unknown() {
    seccomp::refuse(&[libc::SYS_unshare], libc::EPERM);
    seccomp::refuse(&LIST, libc::EPERM);
    unknown(libc::EPERM, libc::EPERM);
}

/// In an empty root directory `/proc` is missing instead of refused.
pub(crate) fn without_proc_unshare_alone_decides() {
    let empty = tempfile::tempdir().unwrap();
    // Without the right to chroot, a user namespace may grant it.
    let chroot = rustix::process::chroot(empty.path()).or_else(|_| {
        // SAFETY: only CLONE_FILES makes unshare unsafe, and it is not used here.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }?;
        rustix::process::chroot(empty.path())
    });
    if let Err(error) = chroot {
        cases::skip(&format!("chroot: {error}"), "run as root, or allow user namespaces");
    }
    std::env::set_current_dir("/").unwrap();
    assert!(std::fs::read_dir("/proc").is_err());
    forks();
    beside_a_thread(|| unknown(libc::EINVAL, libc::ENOENT));
    seccomp::refuse(&[libc::SYS_unshare], libc::EPERM);
    unknown(libc::EPERM, libc::ENOENT);
}

/// Checks that fork fails and names both causes.
fn unknown(unshare: i32, proc: i32) {
    let error = fork().unwrap_err();
    let expected = ForkError::ThreadsUnknown { unshare: Errno(unshare), proc: Errno(proc) };
    assert_eq!(error, expected, "{error}");
}

/// An io_uring with a polling kernel thread, which is listed among this process's threads.
pub(crate) fn repro_the_kernels_own_threads_of_an_io_uring_are_no_second_thread() {
    let Some(_ring) = fds::io_uring(SQPOLL) else {
        cases::skip("an io_uring with a thread", "a kernel with io_uring, and the right to use it")
    };
    let tasks = || std::fs::read_dir("/proc/self/task").unwrap().count();
    if tasks() < 2 {
        cases::skip("an io_uring with a thread that shows", "Linux 5.12 or later");
    }
    // The thread gets its name only shortly after its start.
    forks_in_the_end();
    beside_a_thread(|| {
        assert_eq!(
            fork().unwrap_err(),
            ForkError::Threads { count: 2 },
            "the kernel thread is not counted"
        );
    });
    // A name alone does not make it a kernel thread.
    let (end, wait) = mpsc::channel::<()>();
    let named = std::thread::Builder::new().name("iou-sqp-1".into());
    let thread = named.spawn(move || _ = wait.recv()).unwrap();
    assert_eq!(fork().unwrap_err(), ForkError::Threads { count: 2 });
    drop(end);
    thread.join().unwrap();
}

/// IORING_SETUP_SQPOLL (io_uring_setup(2)).
const SQPOLL: u32 = 2;
