//! A child's life and death.

use std::io::{Read, Write};
use std::time::Duration;

use ipc_barrier::{Child, Ended, exit};
use ipc_tests::around::proc;
use ipc_tests::cases::skip;
use ipc_tests::fds;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::ptrace::keep_unreaped;
use ipc_tests::storm::Storm;
use ipc_transport::Instant;
use rustix::process::{Pid, Signal};

pub(crate) fn a_child_exits_with_its_status() {
    for status in [0, 1, 42, 101, 255] {
        let mut child = forked(|| exit(status));
        let ended = end_of(&mut child);
        assert_eq!(ended, Ended::Exited(u8::try_from(status).unwrap()));
        assert_eq!(child.try_wait(), Some(ended), "from memory");
        assert_eq!(child.wait_until(Instant::PAST), Some(ended));
    }
    assert!(fds::children().is_empty());
}

pub(crate) fn a_child_is_ended_by_its_signal() {
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

pub(crate) fn a_system_call_that_a_filter_forbids_is_told_as_such() {
    let mut child = forked(|| {
        // SAFETY: no memory is involved; the default action ends this process.
        unsafe { libc::raise(libc::SIGSYS) };
    });
    let told = "killed by signal 31 (SIGSYS: a system call that its filter forbids)";
    let told = told.replace("31", &libc::SIGSYS.to_string());
    assert_eq!(end_of(&mut child).to_string(), told);
    assert_eq!(Ended::Killed(9).to_string(), "killed by signal 9");
}

fn sleeper() -> Child {
    forked(|| std::thread::sleep(Duration::from_secs(600)))
}

pub(crate) fn kill_ends_a_child_and_leaves_one_that_has_ended() {
    let mut child = sleeper();
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
    child.kill().unwrap();
    let mut child = forked(|| exit(5));
    // Exited but not reaped: the status stays available.
    wait_for_zombie(&child);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Exited(5));
    assert!(fds::children().is_empty());
}

pub(crate) fn repro_a_dead_child_that_a_tracer_keeps_is_waited_for_without_spinning() {
    let mut child = sleeper();
    let Some(mut tracer) = keep_unreaped(child.pid()) else {
        skip("a tracer", "the right to trace, CAP_SYS_PTRACE");
    };
    child.kill().unwrap();
    wait_for_zombie(&child);
    let before = used();
    let waited = child.wait_until(Instant::now() + Duration::from_millis(400));
    let used = used() - before;
    tracer.kill().unwrap();
    assert_eq!(end_of(&mut tracer), Ended::Killed(9));
    assert_eq!(waited, None);
    assert!(used < Duration::from_millis(200), "{used:?} of CPU time in 0.4 s");
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

/// CPU time used by this thread so far.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap()
}

fn wait_for_zombie(child: &Child) {
    let limit = soon();
    let stat = proc(&format!("{}/stat", child.pid()));
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z") {
        assert!(Instant::now() < limit, "it does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn a_stopped_child_has_not_ended() {
    let mut child = sleeper();
    let pid = Pid::from_raw(child.pid()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(child.wait_until(deadline), None);
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

pub(crate) fn wait_until_runs_out_at_its_deadline_and_may_be_waited_on_again() {
    let mut child = sleeper();
    let _storm = Storm::begin(Duration::from_micros(150));
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_millis(40);
        assert_eq!(child.wait_until(deadline), None);
        let late = Instant::now().since(deadline);
        assert!(Instant::now() >= deadline && late < Duration::from_secs(5), "{late:?}");
    }
    assert_eq!(child.wait_until(Instant::PAST), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

pub(crate) fn a_status_taken_by_another_wait_is_unknown() {
    let mut child = forked(|| exit(5));
    // SAFETY: a null pointer means that the status is not wanted.
    let waited = unsafe { libc::waitpid(child.pid(), std::ptr::null_mut(), 0) };
    assert_eq!(waited, child.pid());
    assert_eq!(end_of(&mut child), Ended::Unknown);
    child.kill().unwrap();
    // A program that lets the kernel reap its children gets no status either.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut child = sleeper();
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Unknown);
}

pub(crate) fn many_children_leave_no_descriptor_and_no_zombie() {
    let before = fds::open();
    for _ in 0..100 {
        let mut child = forked(|| exit(0));
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
    assert_eq!(fds::open(), before);
    assert!(fds::children().is_empty());
}

pub(crate) fn wait_without_a_deadline_ends_with_the_child() {
    let _storm = Storm::begin(Duration::from_micros(500));
    let begin = Instant::now();
    let mut child = forked(|| {
        std::thread::sleep(Duration::from_millis(100));
        exit(6);
    });
    assert_eq!(child.wait(), Ended::Exited(6));
    assert!(Instant::now().since(begin) >= Duration::from_millis(100));
    assert_eq!(child.wait(), Ended::Exited(6), "from memory");
    let mut child = sleeper();
    child.kill().unwrap();
    assert_eq!(child.wait(), Ended::Killed(9));
}

/// Sets the next pid that the kernel will assign.
fn next_pid_after(pid: i32) -> std::io::Result<()> {
    std::fs::write(proc("sys/kernel/ns_last_pid"), pid.to_string())
}

static LINES: std::sync::OnceLock<[std::os::unix::net::UnixStream; 2]> = std::sync::OnceLock::new();

/// Runs in the parent right after the fork: reaps the child, and has another process fork one with
/// the same pid.
extern "C" fn reuse_number() {
    let [line, _] = LINES.get().unwrap();
    let mut line = line;
    let Ok(Some((pid, _))) = rustix::process::waitpid(None, rustix::process::WaitOptions::empty())
    else {
        return;
    };
    line.write_all(&pid.as_raw_nonzero().get().to_ne_bytes()).unwrap();
    line.read_exact(&mut [0]).unwrap();
}

/// Between the fork and the first look at the child, other code may wait for any child.
pub(crate) fn repro_a_number_that_another_process_has_by_now_is_not_the_childs() {
    if next_pid_after(1_000).is_err() {
        skip("choosing a process number", "CAP_CHECKPOINT_RESTORE, or CAP_SYS_ADMIN");
    }
    let (line, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
    LINES.set([line, other.try_clone().unwrap()]).unwrap();
    let mut forker = forked(|| {
        let mut number = [0; 4];
        other.read_exact(&mut number).unwrap();
        let number = i32::from_ne_bytes(number);
        next_pid_after(number - 1).unwrap();
        let mut stranger = forked(|| std::thread::sleep(Duration::from_secs(600)));
        other.write_all(&[u8::from(stranger.pid() == number)]).unwrap();
        // Until the other side has tried to kill this process.
        other.read_exact(&mut [0]).unwrap();
        let lives = stranger.try_wait().is_none();
        stranger.kill().unwrap();
        exit(if stranger.pid() == number { i32::from(!lives) } else { 77 });
    });
    // SAFETY: the function makes only system calls.
    assert_eq!(unsafe { libc::pthread_atfork(None, Some(reuse_number), None) }, 0);
    let mut child = forked(|| exit(0));
    assert_eq!(child.try_wait(), Some(Ended::Unknown), "its status was taken");
    assert!(child.pidfd().is_none());
    child.kill().unwrap();
    let [mut line, _] = LINES.get().unwrap().each_ref();
    line.write_all(&[0]).unwrap();
    match end_of(&mut forker) {
        Ended::Exited(77) => skip("a process number that is free again", "a quiet machine"),
        ended => assert_eq!(ended, Ended::Exited(0), "an unrelated process was killed"),
    }
}
