//! Descriptors closed behind an end's back, a system that cannot wait, and a child that fails
//! without a reason.

use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::Duration;

use ipc_barrier::{
    Barrier, Child, ChildEnd, Ended, Errno, Fork, Lane, PeerAbort, Reason, Unmet, exit, fork,
};
use ipc_tests::fds;
use ipc_tests::forked::{end_of, forked, soon};
use ipc_transport::Instant;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::peer::pair;

fn close(number: i32) {
    // SAFETY: closing a descriptor owned elsewhere is the point of the case.
    unsafe { libc::close(number) };
}

/// A child that waits, and exits with 0 if an abort or the end of the parent's side ends the wait.
fn waiting<L: Lane>() -> (ipc_barrier::ParentEnd<L>, Child) {
    let barrier = Barrier::<L>::open().unwrap();
    match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            exit(i32::from(end.wait_abort_until(soon()).is_none()));
        }
        Fork::Parent(child) => (barrier.into_parent(), child),
    }
}

/// A side that can still be told learns it at once, not only when the process exits.
pub(crate) fn repro_a_side_that_breaks_tells_its_peer<L: Lane>() {
    let mut noticed = 0;
    for which in 0..3 {
        let (mut end, mut child) = waiting::<L>();
        // By then it is usually asleep.
        std::thread::sleep(Duration::from_millis(20));
        close(end.descriptors().nth(which).unwrap().as_raw_fd());
        _ = end.try_sync_next();
        _ = end.try_wait_next();
        // Only a sleeping peer misses the bell.
        _ = end.place();
        if end.has_aborted() {
            noticed += 1;
            assert_eq!(end_of(&mut child), Ended::Exited(0), "descriptor {which}");
        }
        child.kill().unwrap();
    }
    assert!(noticed >= 1);
}

pub(crate) fn repro_dropping_an_end_that_is_broken_ends_no_program<L: Lane>() {
    let mut dropping = forked(|| {
        let (mut end, mut peer) = pair::<L>();
        _ = end.watch().unwrap();
        let numbers: Vec<i32> = end.descriptors().map(|fd| fd.as_raw_fd()).collect();
        numbers.iter().copied().for_each(close);
        drop(end);
        peer.process.kill().unwrap();
    });
    assert_eq!(end_of(&mut dropping), Ended::Exited(0));
}

/// By then the descriptor numbers belong to another file.
pub(crate) fn repro_dropping_an_end_closes_no_file_that_is_not_its_own<L: Lane>() {
    let null = File::open("/dev/null").unwrap();
    let end = Barrier::<L>::open().unwrap().into_parent();
    let numbers: Vec<i32> = end.descriptors().map(|fd| fd.as_raw_fd()).collect();
    for &number in &numbers {
        close(number);
        let taken = rustix::io::fcntl_dupfd_cloexec(&null, number).unwrap();
        assert_eq!(taken.into_raw_fd(), number);
    }
    drop(end);
    let open = fds::open();
    assert!(numbers.iter().all(|number| open.contains(number)), "{numbers:?} among {open:?}");
}

fn limit(current: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap();
}

/// A limit that sandboxes set: nothing can be opened, and poll accepts no descriptor.
pub(crate) fn repro_a_wait_that_the_system_refuses_is_no_abort<L: Lane>() {
    fn child<L: Lane>(mut end: ChildEnd<L>) {
        assert_eq!(end.wait_next(), Ok(()));
        limit(0);
        let before = Instant::now() + Duration::from_millis(20);
        let refused = end.wait_next_until(before);
        let Err(Unmet::System(error)) = refused else { panic!("{refused:?}") };
        assert_eq!((error.call, error.errno), ("poll", Errno(libc::EINVAL)));
        assert_eq!(end.wait_abort_until(before), None);
        assert!(Instant::now() >= before, "it still waits");
        assert!(!end.has_aborted());
        if L::NAME == "page" {
            assert_eq!(end.try_wait_next(), Ok(false), "reading needs no poll");
            assert_eq!(end.place(), Ok(()));
            assert_eq!(end.wait_next(), Ok(()));
        } else {
            limit(1_000);
            assert_eq!(end.place(), Ok(()));
            assert_eq!(end.wait_next_until(soon()), Ok(()));
        }
        limit(1_000);
        assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
    }
    let barrier = Barrier::<L>::open().unwrap();
    let mut process = match fork().unwrap() {
        Fork::Child(_guard) => {
            child(barrier.into_child());
            exit(0);
        }
        Fork::Parent(process) => process,
    };
    let mut end = barrier.into_parent();
    end.place().unwrap();
    end.wait_next_until(soon()).unwrap();
    end.place().unwrap();
    // Its tokens are received before its end shows.
    drop(end);
    assert_eq!(end_of(&mut process), Ended::Exited(0));
}

fn told<L: Lane>(run: impl FnOnce() -> Result<(), std::io::Error>) -> (Unmet, Ended) {
    fn child<L: Lane>(
        barrier: Barrier<L>,
        guard: ipc_barrier::Guard,
        run: impl FnOnce() -> Result<(), std::io::Error>,
    ) -> Result<(), std::io::Error> {
        let mut end = barrier.into_child().guarded(guard);
        run()?;
        exit(end.place().is_err().into());
    }
    let barrier = Barrier::<L>::open().unwrap();
    match fork().unwrap() {
        Fork::Child(guard) => {
            _ = child(barrier, guard, run);
            exit(7);
        }
        Fork::Parent(mut process) => {
            let unmet = barrier.into_parent().wait_next_until(soon()).unwrap_err();
            (unmet, end_of(&mut process))
        }
    }
}

pub(crate) fn repro_a_child_that_fails_without_a_word_is_told_of<L: Lane>() {
    let text_of = |(unmet, ended): (Unmet, Ended)| {
        let Unmet::Aborted(Some(Reason { stage, text, .. })) = unmet else { panic!("{unmet:?}") };
        (stage.as_str().to_owned(), text.as_str().to_owned(), ended)
    };
    let returned = text_of(told::<L>(|| Err(std::io::Error::other("no device"))));
    let expected = |text: &str| ("child".to_owned(), text.to_owned(), Ended::Exited(101));
    assert_eq!(returned, expected("returned, exit status 101"));
    let panicked = text_of(told::<L>(|| panic!("on purpose")));
    assert_eq!(panicked, expected("panicked, exit status 101"));
    assert_eq!(told::<L>(|| exit(5)), (Unmet::Gone, Ended::Exited(5)));
    assert!(fds::children().is_empty());
}
