//! Exits, deaths, roles and third parties.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use ipc_barrier::{Barrier, Ended, Fork, Lane, PeerAbort, Unmet, exit, fork};
use ipc_tests::forked::{end_of, forked, soon};

use crate::peer::{Order, is_readable, milliseconds, name, pair};

pub(crate) fn an_exit_queues_behind_the_tokens<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    _ = end.place();
    _ = end.place();
    peer.does(Order::Place);
    peer.does(Order::Place);
    peer.exits();
    assert!(end.place().is_ok(), "the death is not noticed yet");
    assert_eq!(end.sync_next(), Ok(()));
    assert_eq!(end.sync(), Err(Unmet::Gone), "only two of three were answered");
    assert!(end.place().is_err());
    assert!(!end.abort());
}

pub(crate) fn dropping_an_end_is_gone_for_the_other_side<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Drop);
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    let (mut end, mut peer) = pair::<L>();
    peer.tell(Order::WaitNext);
    std::thread::sleep(Duration::from_millis(20));
    _ = end.place();
    assert_eq!(peer.answer(), b'+');
    drop(end);
    assert_eq!(peer.does(Order::WaitNext), 'g');
    assert_eq!(peer.does(Order::WaitPeerAbort), 'g');
}

pub(crate) fn an_exec_is_gone_though_the_process_lives_on<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            _ = end.place();
            let error = Command::new("sleep").arg("600").exec();
            panic!("sleep: {error}");
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(child.try_wait(), None);
    child.kill().unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

pub(crate) fn a_third_process_that_drops_its_copy_has_no_effect<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let (mut line, thirds) = UnixStream::pair().unwrap();
    let mut third = match fork().unwrap() {
        Fork::Child(_guard) => {
            (&thirds).read_exact(&mut [0]).unwrap();
            drop(barrier);
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            let mut end = barrier.into_child();
            // Two answers; the second comes after the third process has ended.
            assert!(end.place().is_ok());
            assert_eq!(end.place_and_sync_until(soon()), Ok(()));
            assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    line.write_all(b"x").unwrap();
    assert_eq!(end_of(&mut third), Ended::Exited(0));
    assert_eq!(end.try_wait_abort(), None);
    assert!(end.place().is_ok());
    drop(end);
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn a_child_that_dies_before_it_took_its_role_is_noticed<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => exit(3),
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    assert_eq!(end_of(&mut child), Ended::Exited(3));
}

pub(crate) fn a_parent_that_dies_before_it_took_its_role_is_noticed<L: Lane>() {
    let (mut report, other) = UnixStream::pair().unwrap();
    report.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut parent = forked(|| {
        let barrier = Barrier::<L>::open().unwrap();
        match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                let answer = name(end.wait_next_until(soon()));
                (&other).write_all(&[answer]).unwrap();
                exit(0);
            }
            Fork::Parent(_child) => exit(4),
        }
    });
    drop(other);
    assert_eq!(end_of(&mut parent), Ended::Exited(4));
    let mut answer = [0];
    report.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'g']);
}

pub(crate) fn a_side_that_waits_before_the_other_took_its_role_is_served<L: Lane>() {
    let barrier = Barrier::<L>::open().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            std::thread::sleep(Duration::from_millis(50));
            let mut end = barrier.into_child();
            assert_eq!(end.wait_next_until(soon()), Ok(()), "it placed before it took its role");
            _ = end.place();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent().watching(&child).unwrap();
    assert_eq!(end.place_and_sync_until(soon()), Ok(()));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn a_grandchild_that_holds_all_descriptors_hides_no_death_from_a_pidfd<L: Lane>() {
    let (alive, theirs) = UnixStream::pair().unwrap();
    let barrier = Barrier::<L>::open().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(alive);
            if let Fork::Child(_guard) = fork().unwrap() {
                // Until the case ends.
                _ = (&theirs).read(&mut [0]);
                exit(0);
            }
            let mut end = barrier.into_child();
            _ = end.place();
            _ = end.place();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut blind = barrier.into_parent();
    assert_eq!(blind.wait_next_until(soon()), Ok(()));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
    // A token may remain; after it the pipe shows nothing.
    _ = blind.try_wait_next();
    assert_eq!(blind.wait_next_until(milliseconds(50)), Err(Unmet::TimedOut));
    let watch = blind.watch().unwrap().as_raw_fd();
    let mut end = blind.watching(&child).unwrap();
    assert_eq!(end.watch().unwrap().as_raw_fd(), watch, "it stays the same");
    assert!(is_readable(end.watch().unwrap(), soon()), "even if created before");
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    drop(alive);
}
