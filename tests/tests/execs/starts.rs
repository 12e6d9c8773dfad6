//! How a worker starts by exec, and why it may fail to.

use ipc_tests::over::{self, Over};
use std::ffi::CStr;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipc_tests::around::{self, proc, start_self};
use ipc_tests::forked::{end_of, forked};
use ipc_tests::{cases, fds, seccomp};
use ipc_worker::{Ended, Exec, Identity, Launch, Start, StartError, Worker};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::handler::*;
use crate::program::OTHER;

/// Starts this program as the worker with this name, which must fail.
fn fails(
    word: &CStr,
    change: impl FnOnce(Start<Exec<'_, Over>>) -> Start<Exec<'_, Over>>,
) -> StartError {
    let before = fds::open();
    let args = [word];
    let start = change(start_self().unwrap().args(&args));
    let Err(error) = Worker::<u32, _>::start(start) else { panic!("it started") };
    assert_eq!(fds::open(), before, "{error}");
    assert!(fds::children().is_empty(), "a process is left: {error}");
    error
}

pub(crate) fn a_worker_that_cannot_be_made_says_why() {
    let said = |word| fails(word, |start| start).to_string();
    let failed = "the worker's set-up failed: stage";
    assert_eq!(said(c"unmade"), format!("{failed} parser: the tables: ENOENT (2)"));
    assert_eq!(said(c"unprepared"), format!("{failed} prepare: EACCES (13)"));
}

pub(crate) fn a_panic_before_it_is_ready_is_told_with_its_status() {
    assert_eq!(fails(c"panics", |start| start), StartError::Died(Ended::Exited(101)));
}

/// A program that does not ask whether it is a worker would start itself without end.
pub(crate) fn repro_a_worker_that_does_not_serve_starts_no_further_one() {
    let said = fails(c"nests", |start| start).to_string();
    assert!(said.contains("exec from a worker that has not called serve: EINVAL (22)"), "{said}");
}

pub(crate) fn repro_a_worker_has_the_name_of_its_program() {
    let worker = worker();
    let name = |pid: &str| fs::read_to_string(proc(&format!("{pid}/comm"))).unwrap();
    let exe = fs::read_link(proc("self/exe")).unwrap();
    let mut expected = exe.file_name().unwrap().to_string_lossy().into_owned();
    expected.truncate(15);
    assert_eq!(name(&worker.pid().unwrap().to_string()).trim_end(), expected);
}

pub(crate) fn another_size_or_service_names_both_sides() {
    let mismatch = |what, ours, theirs| StartError::Mismatch { what, ours, theirs };
    assert_eq!(fails(c"slots", |start| start), mismatch("slots", 64, 63));
    assert_eq!(fails(c"many-slots", |start| start), mismatch("slots", 64, 5000));
    assert_eq!(fails(c"bytes", |start| start), mismatch("bytes", 32768, 4096));
    const MINE: Identity = Identity { build: "tests 8", ..OTHER };
    let said = fails(c"named", |start| start.expects(&MINE)).to_string();
    assert!(said.contains(&MINE.to_string()) && said.contains(&OTHER.to_string()), "{said}");
    let args = [c"named"];
    let start = start_self().unwrap().args(&args).expects(&OTHER);
    drop(Worker::<u32, _>::start(start).unwrap());
}

pub(crate) fn a_program_that_is_missing_or_does_not_serve_is_told_as_that() {
    let before = fds::open();
    let started = |path| Worker::<u32, _>::start(over::exec(path)).unwrap_err();
    let StartError::Failed(reason) = started(c"/nowhere/worker") else { panic!("another error") };
    let (stage, text) = (reason.stage.as_str(), reason.text.as_str());
    assert_eq!((stage, reason.errno.0, text), ("exec", libc::ENOENT, "/nowhere/worker"));
    assert_eq!(started(c"/bin/true"), StartError::Died(Ended::Exited(0)));
    let args = [c"600"];
    let start = over::exec(c"/bin/tail").args(&args).ready_within(Duration::from_millis(200));
    let error = Worker::<u32, _>::start(start).unwrap_err();
    assert!(matches!(error, StartError::TimedOut | StartError::Died(_)), "{error}");
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty());
}

pub(crate) fn by_hand_it_says_what_it_is() {
    for mark in ["x", "ipc-worker:1:0", &format!("ipc-worker:{}:0", std::process::id())] {
        let mut program = Command::new(proc("self/exe"));
        let output = program.args([mark, "by-hand"]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, "this program is a worker: its main process starts it\n");
    }
}

pub(crate) fn what_a_worker_starts_itself_is_no_worker() {
    let mut worker = worker();
    let Told::Reply(_, said) = call(&mut worker, crate::surroundings::START_AGAIN, b"") else {
        panic!("no reply")
    };
    assert_eq!(String::from_utf8(said).unwrap(), "exit status: 64");
}

pub(crate) fn without_memfd_the_error_says_so() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let mut tried = forked(|| {
            seccomp::refuse(&[libc::SYS_memfd_create], errno);
            let Err(error) = Worker::<u32, _>::start(start_self().unwrap()) else {
                panic!("it started")
            };
            let StartError::System(error) = error else { panic!("{error}") };
            assert_eq!((error.call, error.errno.0), ("memfd_create", errno));
        });
        assert_eq!(end_of(&mut tried), Ended::Exited(0));
    }
}

fn limit_files_to(bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, ..getrlimit(Resource::Fsize) };
    setrlimit(Resource::Fsize, limit).unwrap();
}

/// SIGXFSZ killed main, since the limit counts for memfds too (setrlimit(2)).
pub(crate) fn repro_a_limit_of_file_size_is_an_error_of_a_start_and_of_a_restart() {
    const SAID: &str = "ftruncate: EFBIG (27)";
    let mut worker = worker();
    limit_files_to(Some(0));
    let Err(error) = Worker::<u32, _>::start(start_self().unwrap()) else { panic!("it started") };
    assert!(error.to_string().contains(SAID), "{error}");
    kill_process(Pid::from_raw(worker.pid().unwrap()).unwrap(), Signal::KILL).unwrap();
    let told = turn_until(&mut worker, |list| list.len() >= 2);
    let [Told::Died(_), Told::NotStarted(error)] = &told[..] else { panic!("{told:?}") };
    assert!(error.contains(SAID), "{error}");
    limit_files_to(None);
    turn_until(&mut worker, |list| list.contains(&Told::Started(0)));
    // Enough for the words, and too little for the blocks.
    limit_files_to(Some(BLOCK as u64));
    drop(Worker::<u32, _>::start(start_self().unwrap()).unwrap());
    let blocks = start_self().unwrap().blocks::<2>(BLOCK);
    let Err(error) = Worker::<u32, _>::start(blocks) else { panic!("it started") };
    assert!(error.to_string().contains(SAID), "{error}");
}

pub(crate) fn where_a_sandbox_refuses_prlimit_a_worker_starts() {
    seccomp::refuse(&[libc::SYS_prlimit64], libc::EPERM);
    drop(lending());
}

fn starts_again(worker: &mut Worker<u32, impl Launch>) {
    for _ in 0..2 {
        let pid = Pid::from_raw(worker.pid().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        let told = turn_until(worker, |list| list.len() >= 2);
        assert_eq!(told, [Told::Died(Ended::Killed(9)), Told::Started(0)]);
        assert_eq!(call(worker, ECHO, b"hello"), Told::Reply(0, b"hello".to_vec()));
    }
}

/// Like a main that has entered a root directory without /proc. The program's file is still open.
pub(crate) fn repro_a_worker_starts_again_where_proc_is_gone() {
    let mut worker = worker();
    if let Err(error) = around::hide_proc() {
        cases::skip(&format!("a mount namespace: {error}"), "root");
    }
    starts_again(&mut worker);
}

/// This program is copied, started, and replaced on disk while the copy runs.
pub(crate) fn an_upgrade_on_disk_mixes_no_versions() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("daemon");
    fs::copy(proc("self/exe"), &program).unwrap();
    let mut daemon = Command::new(&program);
    let status = daemon.args(["--exact", "upgraded_while_it_runs"]).env("IPC_TESTS_SELF", &program);
    let status = status.env_remove("IPC_TESTS_AROUND");
    let output = status.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("1 passed"), "{said}");
}

pub(crate) fn upgraded_while_it_runs() {
    let Ok(program) = std::env::var("IPC_TESTS_SELF") else { return };
    let mut worker = worker();
    fs::remove_file(&program).unwrap();
    fs::write(&program, "not a program").unwrap();
    starts_again(&mut worker);
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}
