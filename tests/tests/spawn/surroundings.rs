//! Starts in a process that has threads, lacks standard streams, or is in a sandbox.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use ipc_barrier::Ended;
use ipc_barrier::process::{Program, Setup};
use ipc_tests::around::proc;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::{cases, fds, seccomp};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::WaitOptions;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::started::{SH, output, reason, script};

fn both_ways() -> [Setup<'static>; 2] {
    [Setup::new(), Setup::new().group()]
}

pub(crate) fn beside_threads_that_allocate_and_start_programs_too() {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            // The allocator's lock is often held at the moment of a fork.
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    std::hint::black_box(vec![0_u8; 3000]);
                    std::hint::black_box(std::env::var_os("PATH"));
                }
            });
        }
        let starts: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..50 {
                        let setup = &both_ways()[round % 2];
                        assert_eq!(script(setup, "echo $((6 * 7))"), "42\n");
                        let why = setup.spawn(c"/no/such", &[c"x"], soon()).unwrap_err();
                        assert!(why.to_string().ends_with("/no/such: ENOENT (2)"), "{why}");
                    }
                })
            })
            .collect();
        let outcomes: Vec<_> =
            starts.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        ended.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
    // A failed start waits a second for its child, maybe too short here; all end at last.
    while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    assert!(fds::children().is_empty());
}

pub(crate) fn where_standard_streams_are_closed_the_program_has_them_all_the_same() {
    for closed in [0..1, 1..2, 2..3, 0..3] {
        for (way, setup) in both_ways().into_iter().enumerate() {
            let mut child = forked(|| {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                let write = rustix::io::fcntl_dupfd_cloexec(write, 10).unwrap();
                let read = rustix::io::fcntl_dupfd_cloexec(read, 10).unwrap();
                for number in closed.clone() {
                    // SAFETY: nothing in this child uses the descriptor.
                    unsafe { libc::close(i32::try_from(number).unwrap()) };
                }
                // Also if another file of this process has got the number since.
                let file = (way == 0).then(fds::file);
                let names = proc("$$/fd/[012]");
                let list = CString::new(format!("x=$(readlink {names}); echo \"$x\" >&5")).unwrap();
                let mut child = setup
                    .clone()
                    .fd(write.as_fd(), 5)
                    .spawn(SH, &[c"sh", c"-c", &list], soon())
                    .unwrap();
                drop((write, file));
                let mut text = String::new();
                File::from(read).read_to_string(&mut text).unwrap();
                let lines: Vec<&str> = text.lines().collect();
                let nulls = closed.clone().all(|number| lines[number] == "/dev/null");
                let right = lines.len() == 3 && nulls && end_of(&mut child) == Ended::Exited(0);
                let why = setup.spawn(c"/no/such", &[c"x"], soon()).unwrap_err().to_string();
                ipc_barrier::exit((!(right && why.ends_with("ENOENT (2)"))).into());
            });
            assert_eq!(end_of(&mut child), Ended::Exited(0), "{closed:?}, way {way}");
        }
    }
}

/// Calls that containers refuse and old kernels lack.
const NEWER: [libc::c_long; 5] = [
    libc::SYS_clone3,
    libc::SYS_close_range,
    libc::SYS_execveat,
    libc::SYS_pidfd_open,
    libc::SYS_unshare,
];

pub(crate) fn in_a_sandbox_without_the_newer_calls_everything_works() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let mut child = forked(|| {
            seccomp::refuse(&NEWER, errno);
            for setup in both_ways() {
                assert_eq!(script(&setup, "echo works"), "works\n");
                let leaked = fds::file();
                rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
                let look = proc(&format!("$$/fd/{}", leaked.as_raw_fd()));
                let look = format!("test -e {look} || echo closed");
                assert_eq!(script(&setup, &look), "closed\n", "without close_range");
                let sh = File::open("/bin/sh").unwrap();
                let args = [c"sh", c"-c", c"echo by file"];
                let (text, ended) = output(&setup, Program::Open(sh.as_fd()), &args).unwrap();
                assert_eq!((text.as_str(), ended), ("by file\n", Ended::Exited(0)));
                let why = reason(&setup, Program::Path(c"/no/such"));
                assert_eq!(why, "stage exec: /no/such: ENOENT (2)");
            }
        });
        assert_eq!(end_of(&mut child), Ended::Exited(0), "{errno}");
    }
}

/// There /proc shows another process under the child's number: this one, which has called no exec.
/// So the start counted as failed.
pub(crate) fn repro_a_program_starts_where_proc_is_that_of_another_pid_namespace() {
    // SAFETY: only CLONE_FILES makes unshare unsafe.
    if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWPID) } {
        cases::skip(&format!("a pid namespace: {error}"), "root");
    }
    let before = (std::process::id() - 1).to_string();
    let mut child = forked(|| {
        // Without this file (CONFIG_CHECKPOINT_RESTORE) the numbers are often those of the
        // kernel's threads, which have not called exec either.
        _ = std::fs::write(proc("sys/kernel/ns_last_pid"), before);
        assert_eq!(script(&Setup::new().group(), "echo works"), "works\n");
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn a_start_that_lacks_a_descriptor_says_so_and_leaves_none() {
    let file = fds::file();
    let used = u64::try_from(fds::open().len()).unwrap();
    let mut failed = 0;
    for (way, setup) in both_ways().into_iter().enumerate() {
        let setup = setup.fd(file.as_fd(), 3);
        for more in 0..12 {
            let open = fds::open();
            fds::limit(used + more);
            let started = setup.spawn(SH, &[c"sh", c"-c", c"exit 3"], soon());
            fds::limit(1024);
            match started {
                Ok(mut child) => assert_eq!(end_of(&mut child), Ended::Exited(3)),
                Err(error) => {
                    failed += 1;
                    assert!(error.to_string().contains("EMFILE"), "way {way}: {error}");
                }
            }
            assert_eq!(fds::open(), open);
            assert!(fds::children().is_empty());
        }
    }
    assert!(failed > 2, "the limit was not reached");
}

pub(crate) fn many_starts_leave_neither_descriptor_nor_zombie() {
    let open = fds::open();
    for round in 0..100 {
        for setup in both_ways() {
            let program = if round % 2 == 0 { SH } else { c"/no/such" };
            let started = setup.spawn(program, &[c"sh", c"-c", c":"], soon());
            if let Ok(mut child) = started {
                assert_eq!(end_of(&mut child), Ended::Exited(0));
            }
        }
    }
    assert_eq!(fds::open(), open);
    assert!(fds::children().is_empty());
}
