//! Broken, inherited and leaked descriptors.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use ipc_barrier::{Barrier, Ended, Lane, Unmet, exit};
use ipc_tests::around::proc;
use ipc_tests::cases::skip;
use ipc_tests::fds;
use ipc_tests::forked::{end_of, forked, soon};
use rustix::pipe::pipe;

use crate::peer::{ABORTED, Order, milliseconds, pair};

/// The results of the three waits of an end with a damaged descriptor.
type Answers = [Result<(), Unmet>; 3];

const ALL_ABORTED: Answers = [Err(ABORTED); 3];
const ALL_TIMED_OUT: Answers = [Err(Unmet::TimedOut); 3];

/// Applies `damage` to each descriptor of an end in turn, and returns the results of its waits: for
/// the descriptor that it keeps or posts to, the one that it reads, and the one for its own end.
fn damaged<L: Lane>(damage: impl Fn(RawFd)) -> [Answers; 3] {
    std::array::from_fn(|which| {
        let (mut end, mut peer) = pair::<L>();
        let fd = end.descriptors().nth(which).unwrap().as_raw_fd();
        damage(fd);
        _ = end.place();
        let outcomes = [
            end.sync_until(milliseconds(100)),
            end.wait_next_until(milliseconds(100)),
            Err(end.wait_abort_until(milliseconds(100)).map_or(Unmet::TimedOut, Unmet::from)),
        ];
        if outcomes[0] == Err(ABORTED) {
            assert!(end.has_aborted() && end.place().is_err() && !end.abort());
        }
        // Its destructors would close numbers that are no longer theirs.
        std::mem::forget(end);
        peer.process.kill().unwrap();
        outcomes
    })
}

/// Results of ends whose descriptors are closed, one at a time.
fn closed<L: Lane>() -> [Answers; 3] {
    damaged::<L>(|fd| {
        // SAFETY: the owner is forgotten after this.
        unsafe { libc::close(fd) };
    })
}

/// Results of ends whose descriptors are replaced by files that cannot be written and read as
/// nothing, as zeroes or as errors.
fn replaced<L: Lane>() -> [[Answers; 3]; 3] {
    ["/dev/null", "/dev/zero", "/"].map(|path| {
        let file = File::open(path).unwrap();
        damaged::<L>(|fd| replace(fd, file.as_fd()))
    })
}

pub(crate) fn broken_counters_are_an_abort_of_both_sides<L: Lane>() {
    assert_eq!(closed::<L>(), [ALL_ABORTED; 3]);
    for [outgoing, incoming, own] in replaced::<L>() {
        assert_eq!((outgoing, incoming), (ALL_ABORTED, ALL_ABORTED));
        // If the peer can no longer see this end, its waits may time out.
        assert!(own == ALL_TIMED_OUT || own == ALL_ABORTED, "{own:?}");
    }
}

pub(crate) fn broken_bells_are_an_abort_of_both_sides<L: Lane>() {
    // The end keeps the peer's bell only so that no write meets a pipe without a reader.
    assert_eq!(closed::<L>(), [ALL_TIMED_OUT, ALL_ABORTED, ALL_ABORTED]);
    let [null, zero, directory] = replaced::<L>();
    // A bell that rings all the time without tokens causes spurious wake-ups.
    assert_eq!(null, [ALL_TIMED_OUT, ALL_TIMED_OUT, ALL_ABORTED]);
    assert_eq!(zero, [ALL_TIMED_OUT, ALL_TIMED_OUT, ALL_ABORTED]);
    assert_eq!(directory, [ALL_TIMED_OUT, ALL_ABORTED, ALL_ABORTED]);
}

pub(crate) fn a_broken_pidfd_is_an_abort_of_both_sides<L: Lane>() {
    let (end, peer) = pair::<L>();
    let before = fds::open();
    let mut end = end.watching(&peer.process).unwrap();
    let pidfd = fds::open().into_iter().find(|fd| !before.contains(fd)).unwrap();
    // SAFETY: the owner is forgotten below.
    unsafe { libc::close(pidfd) };
    assert_eq!(end.wait_next_until(soon()), Err(ABORTED));
    assert!(end.has_aborted());
    std::mem::forget(end);
}

pub(crate) fn replace(fd: RawFd, by: BorrowedFd<'_>) {
    // SAFETY: the caller forgets the number's owner, or keeps it alive.
    assert_eq!(unsafe { libc::dup2(by.as_raw_fd(), fd) }, fd);
}

pub(crate) fn with_standard_streams_closed_no_descriptor_lands_there<L: Lane>() {
    for fd in 0..3 {
        // SAFETY: this case uses none of the three afterwards.
        unsafe { libc::close(fd) };
    }
    let (end, mut peer) = pair::<L>();
    // Only the case's own line has such numbers.
    let line: Vec<RawFd> = fds::open().into_iter().filter(|&fd| fd < 3).collect();
    let mut end = end.watching(&peer.process).unwrap();
    end.watch().unwrap();
    let pidfd = peer.process.pidfd().map_or(3, |fd| fd.as_raw_fd());
    let low: Vec<RawFd> = fds::open().into_iter().filter(|&fd| fd < 3).collect();
    assert_eq!(low, line);
    assert_eq!(low, [peer.line.as_raw_fd()]);
    assert!(pidfd > 2 && end.descriptors().all(|fd| fd.as_raw_fd() > 2));
    _ = end.place();
    assert_eq!(peer.does(Order::Place), 'y');
    assert_eq!(end.sync_until(soon()), Ok(()));
}

pub(crate) fn every_descriptor_is_closed_on_exec<L: Lane>() {
    let before = fds::open();
    let barrier = Barrier::<L>::open().unwrap();
    let child = forked(|| exit(0));
    assert_cloexec(&before);
    let mut end = barrier.into_parent().watching(&child).unwrap();
    end.watch().unwrap();
    assert_cloexec(&before);
}

fn assert_cloexec(but: &[RawFd]) {
    for fd in fds::open().into_iter().filter(|fd| !but.contains(fd)) {
        // SAFETY: the call only reads a number's flags.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC, "{fd}");
    }
}

/// Like a daemon that continues in a child, and watches a process too.
pub(crate) fn repro_an_end_keeps_its_pidfd_where_only_its_descriptors_are_kept<L: Lane>() {
    let (end, mut peer) = pair::<L>();
    if peer.process.pidfd().is_none() {
        skip("a pidfd", "Linux 5.3 or later");
    }
    let mut end = end.watching(&peer.process).unwrap();
    // Another process holds everything that the child has: only its pidfd shows the death.
    peer.does(Order::Fork);
    let (is_dead, dies) = pipe().unwrap();
    let mut heir = forked(|| {
        let kept = end.descriptors().chain([is_dead.as_fd()]);
        let kept: Vec<RawFd> = kept.map(|fd| fd.as_raw_fd()).collect();
        // SAFETY: the process uses nothing else, and exits without destructors.
        unsafe { ipc_barrier::process::close_all_but(&kept) }.unwrap();
        assert_eq!(rustix::io::read(&is_dead, &mut [0]), Ok(0));
        exit(u8::from(end.wait_next_until(soon()) != Err(Unmet::Gone)).into());
    });
    drop(end);
    peer.process.kill().unwrap();
    end_of(&mut peer.process);
    // Everything else that showed the death is closed.
    drop((peer, dies));
    assert_eq!(end_of(&mut heir), Ended::Exited(0));
}

/// For a daemon that closes all unknown descriptors before it takes a role.
pub(crate) fn a_barrier_lists_its_descriptors<L: Lane>() {
    let before = fds::open();
    for barrier in [Barrier::<L>::open().unwrap(), Barrier::<L>::open_for_exec().unwrap()] {
        let mut listed: Vec<RawFd> = barrier.descriptors().map(|fd| fd.as_raw_fd()).collect();
        assert!(listed.iter().all(|&fd| fd > 2 && !before.contains(&fd)));
        listed.dedup();
        assert!((4..=5).contains(&listed.len()), "{listed:?}");
        let end = barrier.into_child();
        assert!(end.descriptors().all(|fd| listed.contains(&fd.as_raw_fd())));
    }
    assert_eq!(fds::open(), before);
    let barrier = Barrier::<L>::open().unwrap();
    let mut all = barrier.descriptors().map(|fd| fd.as_raw_fd()).chain(before).collect::<Vec<_>>();
    all.sort_unstable();
    assert_eq!(all, fds::open());
}

pub(crate) fn many_barriers_leave_no_descriptor_and_no_memory<L: Lane>() {
    let maps = || std::fs::read_to_string(proc("self/maps")).unwrap().matches("/dev/zero").count();
    drop(Barrier::<L>::open().unwrap());
    let (open, mapped) = (fds::open(), maps());
    for round in 0..200 {
        let barrier = Barrier::<L>::open().unwrap();
        if round % 10 == 0 {
            let (mut end, mut peer) = pair::<L>();
            peer.does(Order::Place);
            end = if round % 20 == 0 { end.watching(&peer.process).unwrap() } else { end };
            end.watch().unwrap();
            assert_eq!(end.wait_next_until(soon()), Ok(()));
            peer.exits();
        }
        match round % 3 {
            0 => drop(barrier.into_parent()),
            1 => drop(barrier.into_child()),
            _ => drop(barrier),
        }
    }
    assert_eq!((fds::open(), maps()), (open, mapped));
    assert!(fds::children().is_empty());
}

pub(crate) fn a_barrier_that_cannot_be_opened_leaves_nothing_open<L: Lane>() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Some(64);
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
    let null = File::open("/dev/null").unwrap();
    let mut hoard = Vec::new();
    while let Ok(fd) = null.try_clone() {
        hoard.push(fd);
    }
    for room in 0..4 {
        let error = Barrier::<L>::open().err().unwrap();
        assert_eq!(error.errno.0, libc::EMFILE, "{error}");
        let reopened: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
        assert_eq!(reopened.len(), room, "everything opened until then is closed");
        drop(reopened);
        hoard.pop();
    }
    Barrier::<L>::open().unwrap();
}
