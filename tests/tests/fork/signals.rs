//! What a child does with signals that its parent handles.

use std::sync::atomic::{AtomicBool, Ordering};

use ipc_barrier::Ended;
use ipc_barrier::process::{block_signals, reset_signals};
use ipc_tests::around::proc;
use ipc_tests::forked::{end_of, forked};

static HANDLED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: i32) {
    HANDLED.store(true, Ordering::Relaxed);
}

fn handle(signal: i32, action: libc::sighandler_t) {
    // SAFETY: the handler only stores to an atomic.
    assert_ne!(unsafe { libc::signal(signal, action) }, libc::SIG_ERR);
}

fn raise(signal: i32) {
    // SAFETY: the call has no precondition.
    unsafe { libc::raise(signal) };
}

/// Returns the set of signals on a line of /proc/self/status, such as `SigCgt`, `SigIgn` or
/// `SigBlk`.
fn set_of(name: &str) -> u64 {
    let status = std::fs::read_to_string(proc("self/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap()
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

pub(crate) fn listed_signals_are_ignored_and_handlers_are_gone() {
    let handler = note as extern "C" fn(i32) as libc::sighandler_t;
    for signal in [libc::SIGTERM, libc::SIGUSR1, libc::SIGRTMIN(), libc::SIGRTMAX()] {
        handle(signal, handler);
    }
    handle(libc::SIGUSR2, libc::SIG_IGN);
    let blocked = block_signals().unwrap();
    let mut child = forked(|| {
        let of_libc = set_of("SigIgn") & (bit(32) | bit(33) | bit(34));
        reset_signals(&[libc::SIGTERM, libc::SIGINT]).unwrap();
        assert_eq!(set_of("SigIgn"), of_libc | bit(libc::SIGTERM) | bit(libc::SIGINT));
        assert_eq!(set_of("SigCgt") & !(bit(32) | bit(33) | bit(34)), 0, "no handler is left");
        assert_eq!(set_of("SigBlk"), 0);
        raise(libc::SIGTERM);
        assert!(!HANDLED.load(Ordering::Relaxed));
        raise(libc::SIGUSR1);
    });
    assert_eq!(end_of(&mut child), Ended::Killed(10), "by the default action of SIGUSR1");
    raise(libc::SIGTERM);
    assert!(!HANDLED.load(Ordering::Relaxed), "it is blocked in the parent too");
    drop(blocked);
    assert!(HANDLED.load(Ordering::Relaxed), "the parent still handles it");
}

/// In glibc, setgid(2) and similar calls interrupt all threads with signal 33. Without its handler
/// the call hangs, or the process dies.
pub(crate) fn repro_the_c_librarys_own_signals_are_left_alone() {
    let group = rustix::process::getgid().as_raw();
    // SAFETY: the call changes nothing: the process already has this group.
    let set_group = || assert_eq!(unsafe { libc::setgid(group) }, 0);
    // The library installs its handlers with the first thread or the first such call.
    std::thread::spawn(|| ()).join().unwrap();
    let mut child = forked(move || {
        let own = set_of("SigCgt") & (bit(32) | bit(33));
        reset_signals(&[]).unwrap();
        assert_eq!(set_of("SigCgt") & (bit(32) | bit(33)), own);
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv().is_err());
        set_group();
        drop(end);
        assert!(thread.join().unwrap());
    });
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn what_is_no_signal_is_refused() {
    for number in [0, -1, 65_536, libc::SIGKILL, libc::SIGSTOP] {
        let error = reset_signals(&[number]).unwrap_err();
        assert_eq!((error.call, error.errno.0), ("rt_sigaction", libc::EINVAL), "{number}");
    }
}
