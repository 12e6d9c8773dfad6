//! The surroundings of a worker started by exec, whatever main is like.

#![expect(unsafe_code, reason = "signals, and descriptors by number")]

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ipc_tests::around::{proc, start_self};
use ipc_tests::{cases, fds, over};
use ipc_worker::{Call, Ended, Event, Instant, Refusal, Reply, Request, Restart, Worker};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::handler::*;
use crate::starts;

pub(crate) const START_AGAIN: u16 = 300;
pub(crate) const STATUS: u16 = 301;
pub(crate) const TRY_FD: u16 = 302;

/// Does the same as the other handler, and reports on its own process.
pub(crate) fn look(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
    match request.method() {
        START_AGAIN => {
            let mut program = Command::new(proc("self/exe"));
            let mark = std::env::args().nth(1).unwrap();
            let status = program.args([&mark, "by-hand"]).stderr(Stdio::null()).status()?;
            reply.put(status.to_string().as_bytes())
        }
        STATUS => reply.put(fs::read_to_string(proc("self/status"))?.as_bytes()),
        TRY_FD => {
            let number = i32::from_le_bytes(request.bytes().try_into().unwrap());
            for _ in 0..8 {
                // Later files must not get this number.
                std::mem::forget(File::open("/dev/null")?);
            }
            // SAFETY: this only tries the number.
            let file = unsafe { std::mem::ManuallyDrop::new(File::from_raw_fd(number)) };
            let said = rustix::io::write(&*file, b"x").unwrap_err();
            reply.put(&said.raw_os_error().to_le_bytes())
        }
        _ => handle(request, reply),
    }
}

fn text(told: Told) -> String {
    let Told::Reply(_, text) = told else { panic!("{told:?}") };
    String::from_utf8(text).unwrap()
}

pub(crate) fn nothing_is_inherited_but_the_stream() {
    let _null = File::open("/dev/null").unwrap();
    let mut worker = worker();
    assert_eq!(text(call(&mut worker, OPEN_FDS, b"")), "[0, 1, 2, 3]");
    kill(&worker);
    _ = turn_until(&mut worker, |list| list.len() >= 2);
    assert_eq!(text(call(&mut worker, OPEN_FDS, b"")), "[0, 1, 2, 3]");
}

pub(crate) fn a_number_of_mains_that_is_not_close_on_exec_names_no_file() {
    let file = tempfile::tempfile().unwrap();
    let copy = rustix::io::fcntl_dupfd_cloexec(&file, 7).unwrap();
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
    let number = copy.as_raw_fd();
    let mut worker = worker();
    let told = call(&mut worker, TRY_FD, &number.to_le_bytes());
    assert_eq!(told, Told::Reply(0, libc::EBADF.to_le_bytes().to_vec()));
    assert_eq!(file.metadata().unwrap().len(), 0);
}

fn set_of(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

/// Main blocks and ignores signals; a program inherits that across an exec.
pub(crate) fn an_ordinary_process_whatever_main_is() {
    // SAFETY: the actions install no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    let _blocked = ipc_barrier::process::block_signals().unwrap();
    let mut worker = worker();
    let status = text(call(&mut worker, STATUS, b""));
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let ignored = [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE, libc::SIGTERM];
    let expected = ignored.into_iter().map(bit).fold(0, |set, bit| set | bit);
    // posix_spawn leaves libc's own signals ignored; libc sets them when needed.
    let of_libc = bit(32) | bit(33);
    let ignored = set_of(&status, "SigIgn") & !of_libc;
    assert_eq!((set_of(&status, "SigBlk") & !of_libc, ignored), (0, expected));
}

pub(crate) fn with_standard_streams_closed_it_starts_and_restarts() {
    for fd in 0..3 {
        // SAFETY: this case uses none of them afterwards.
        unsafe { rustix::io::close(fd) };
    }
    let mut worker = worker();
    for round in 0..3 {
        let open = text(call(&mut worker, OPEN_FDS, b""));
        if open != "[0, 1, 2, 3]" {
            ipc_barrier::exit(1);
        }
        kill(&worker);
        if turn_until(&mut worker, |list| list.len() >= 2).len() != 2 {
            ipc_barrier::exit(2 + round);
        }
    }
}

/// The next child becomes process 1 of a new pid namespace, in which main has no pid.
fn have_children_in_a_pid_namespace() {
    // SAFETY: only CLONE_FILES makes unshare unsafe.
    if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWPID) } {
        cases::skip(&format!("a pid namespace: {error}"), "root");
    }
}

/// There getppid(2) and the pid of the socket's peer are zero. The program took itself for main,
/// and started a worker.
pub(crate) fn repro_a_worker_in_another_pid_namespace_serves() {
    have_children_in_a_pid_namespace();
    let mut worker = worker();
    assert_eq!(call(&mut worker, PID, b""), Told::Reply(0, 1_u32.to_le_bytes().to_vec()));
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}

/// As above, in a program that does not ask whether it is a worker.
pub(crate) fn repro_a_worker_that_does_not_serve_in_another_pid_namespace_starts_no_other() {
    have_children_in_a_pid_namespace();
    starts::repro_a_worker_that_does_not_serve_starts_no_further_one();
}

pub(crate) fn what_a_worker_starts_itself_is_no_worker_in_another_pid_namespace() {
    have_children_in_a_pid_namespace();
    starts::what_a_worker_starts_itself_is_no_worker();
}

/// As above, where a script starts the worker: its parent has a pid there, and is not main.
pub(crate) fn repro_a_worker_behind_a_script_in_another_pid_namespace_serves() {
    let dir = tempfile::tempdir().unwrap();
    let (script, program) = (dir.path().join("script"), fs::read_link(proc("self/exe")).unwrap());
    fs::write(&script, format!("#!/bin/sh\n'{}' \"$@\"\nexit $?\n", program.display())).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    have_children_in_a_pid_namespace();
    let script = CString::new(script.as_os_str().as_bytes()).unwrap();
    let mut worker = Worker::<u32, _>::start(over::exec(&script)).unwrap();
    assert_eq!(call(&mut worker, PID, b""), Told::Reply(0, 2_u32.to_le_bytes().to_vec()));
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}

fn kill<L: ipc_worker::Launch>(worker: &Worker<u32, L>) {
    kill_process(Pid::from_raw(worker.pid().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Other threads allocate, start programs, and come and go while workers are killed.
pub(crate) fn with_threads_and_under_kills_every_request_has_one_outcome() {
    const REQUESTS: u32 = 400;
    let over = AtomicBool::new(false);
    let before = fds::open().len();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let grown: Vec<String> = (0..100).map(|number| number.to_string()).collect();
                    std::thread::spawn(move || drop(grown)).join().unwrap();
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Relaxed) {
                assert!(Command::new("/bin/true").status().unwrap().success());
            }
        });
        let start = start_self().unwrap().restart(Restart::AT_ONCE);
        let mut worker = Worker::<u32, _>::start(start).unwrap();
        let (mut told, mut next, mut deaths) = (vec![0; REQUESTS as usize], 0, 0);
        let limit = Instant::now() + Duration::from_secs(100);
        while told.contains(&0) {
            while next < REQUESTS && worker.has_room() {
                worker.try_call(Call::new(ECHO, &[b"work"]), next).unwrap();
                next += 1;
                if next % 40 == 0 {
                    if let Some(pid) = worker.pid().and_then(Pid::from_raw) {
                        _ = kill_process(pid, Signal::KILL);
                    }
                }
            }
            worker.turn(Instant::now());
            while let Some(event) = worker.next_event() {
                match event {
                    Event::Done { tag, .. } => told[tag as usize] += 1,
                    Event::Died(_) => deaths += 1,
                    Event::Started { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
            assert!(Instant::now() < limit, "{deaths} deaths, {told:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        assert!(told.iter().all(|&times| times == 1) && deaths > 3, "{deaths} deaths, {told:?}");
        assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
        over.store(true, Relaxed);
    });
    assert_eq!(fds::open().len(), before);
    assert!(fds::children().is_empty());
}
