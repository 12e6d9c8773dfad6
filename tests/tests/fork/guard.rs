//! What a child must not do: continue as its parent.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipc_barrier::{Child, Ended, Fork, ForkError, exit, fork};
use ipc_tests::forked::{end_of, forked};

/// Reports through a socket when it is dropped.
struct Tattle(OwnedFd);

impl Drop for Tattle {
    fn drop(&mut self) {
        _ = rustix::io::write(&self.0, b"dropped");
    }
}

/// Runs a parent's program in a separate process, with a value that the child must not drop.
/// Returns the reports once all processes have ended.
fn heard_of(parent: impl FnOnce(&Tattle) -> Result<(), ForkError>) -> String {
    let (mut ear, mouth) = UnixStream::pair().unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut main = forked(|| {
        let tattle = Tattle(mouth.try_clone().unwrap().into());
        if let Err(error) = parent(&tattle) {
            panic!("{error}");
        }
        // Main's own copy reports nothing.
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

pub(crate) fn a_child_that_returns_by_question_mark_exits_101_and_drops_nothing_of_the_parent() {
    fn set_up() -> Result<(), ForkError> {
        Err(ForkError::Threads { count: 2 })
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

pub(crate) fn a_child_that_panics_exits_101_and_drops_nothing_of_the_parent() {
    let heard = heard_of(|_tattle| {
        match fork()? {
            Fork::Child(_guard) => panic!("on purpose"),
            Fork::Parent(mut child) => assert_eq!(end_of(&mut child), Ended::Exited(101)),
        }
        Ok(())
    });
    assert_eq!(heard, "");
}

pub(crate) fn a_child_that_comes_to_the_end_of_its_arm_exits_101() {
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

pub(crate) fn a_child_that_nobody_asks_for_exits_101() {
    let heard = heard_of(|tattle| {
        expect_101(fork()?);
        // A pattern that does not match also drops the guard.
        if let Fork::Parent(mut child) = fork()? {
            assert_eq!(end_of(&mut child), Ended::Exited(101));
            return Ok(());
        }
        _ = rustix::io::write(&tattle.0, b"went on");
        Ok(())
    });
    assert_eq!(heard, "");
}

pub(crate) fn a_disarmed_guard_lets_the_child_go_on_as_a_program_of_its_own() {
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

pub(crate) fn exit_runs_no_exit_handlers() {
    extern "C" fn handler() {
        // SAFETY: the call does not return, and there is no other thread.
        unsafe { libc::_exit(55) };
    }
    // SAFETY: the handler is a static function without arguments.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
    let mut child = forked(|| exit(4));
    assert_eq!(end_of(&mut child), Ended::Exited(4));
}

pub(crate) fn fork_raw_gives_the_same_two_sides() {
    // SAFETY: the child makes only system calls.
    match unsafe { ipc_barrier::fork_raw() }.unwrap() {
        Fork::Child(_guard) => exit(6),
        Fork::Parent(mut child) => assert_eq!(end_of(&mut child), Ended::Exited(6)),
    }
    // SAFETY: as above.
    expect_101(unsafe { ipc_barrier::fork_raw() }.unwrap());
}
