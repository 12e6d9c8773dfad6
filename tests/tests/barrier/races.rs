//! Tokens and ends that arrive at the same time.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use ipc_barrier::{
    Barrier, Child, ChildEnd, Ended, Fork, Lane, ParentEnd, PeerAbort, Unmet, exit, fork,
};
use ipc_tests::deep;
use ipc_tests::forked::{end_of, soon};

use crate::peer::linger;

/// The ways to wait, asleep or not.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Without a deadline and without a pidfd.
    Plain,
    /// Until a deadline.
    Until,
    PlainWithPidfd,
    UntilWithPidfd,
    /// Only after the child has ended.
    Late,
}

const WAYS: [Way; 5] =
    [Way::Plain, Way::Until, Way::PlainWithPidfd, Way::UntilWithPidfd, Way::Late];

/// The tokens of a child that exits immediately are all counted; then its end is seen.
pub(crate) fn no_token_is_lost_to_an_exit_that_follows_at_once<L: Lane>() {
    for round in 0..deep::or(3_000, 300_000) {
        let barrier = Barrier::<L>::open().unwrap();
        let tokens = round % 3 + 1;
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                for _ in 0..tokens {
                    _ = end.place();
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let way = WAYS[round / 3 % WAYS.len()];
        let mut end = end_for(barrier.into_parent(), way, &mut child);
        for _ in 0..tokens {
            assert!(end.place().is_ok());
        }
        let (met, unmet) = if matches!(way, Way::Plain | Way::PlainWithPidfd) {
            (end.sync(), end.wait_next())
        } else {
            (end.sync_until(soon()), end.wait_next_until(soon()))
        };
        assert_eq!((met, unmet), (Ok(()), Err(Unmet::Gone)), "round {round}, {way:?}");
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

fn end_for<L: Lane>(end: ParentEnd<L>, way: Way, child: &mut Child) -> ParentEnd<L> {
    match way {
        Way::Plain | Way::Until => end,
        Way::PlainWithPidfd | Way::UntilWithPidfd => end.watching(&*child).unwrap(),
        Way::Late => {
            end_of(child);
            end
        }
    }
}

/// As above, with the two events so close together that checking in the wrong order would fail.
pub(crate) fn no_token_is_lost_to_a_drop_that_follows_at_once<L: Lane>() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    for round in 0..deep::or(75, 7_500) {
        let mut barriers: Vec<Barrier<L>> =
            (0..40).map(|_| Barrier::<L>::open().unwrap()).collect();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let ends: Vec<ChildEnd<L>> = barriers.drain(..).map(Barrier::into_child).collect();
                for mut end in ends {
                    (&theirs).read_exact(&mut [0]).unwrap();
                    _ = end.place();
                    drop(end);
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let way = WAYS[round % (WAYS.len() - 1)];
        for end in barriers.drain(..).map(Barrier::into_parent).collect::<Vec<_>>() {
            let mut end = end_for(end, way, &mut child);
            if round % 2 == 1 {
                linger(&mut end);
            }
            ours.write_all(b"x").unwrap();
            let answers = if matches!(way, Way::Plain) {
                (end.wait_next(), end.wait_next())
            } else {
                (end.wait_next_until(soon()), end.wait_next_until(soon()))
            };
            assert_eq!(answers, (Ok(()), Err(Unmet::Gone)), "{way:?}");
        }
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

/// Both sides place and wait in turn, as fast as they can, in every way of waiting. A lost wake-up
/// would hang the case.
pub(crate) fn no_wake_up_is_lost_in_many_rounds<L: Lane>() {
    let rounds = deep::or(4_000, 400_000);
    for way in WAYS {
        let barrier = Barrier::<L>::open().unwrap();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                for round in 0..rounds {
                    let met = if round % 2 == 0 {
                        end.place_and_sync()
                    } else {
                        end.place_and_sync_until(soon())
                    };
                    assert_eq!(met, Ok(()));
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let end = barrier.into_parent();
        let mut end = if let Way::Late = way { end } else { end_for(end, way, &mut child) };
        for round in 0..rounds {
            let met = if matches!(way, Way::Plain | Way::PlainWithPidfd) {
                end.place_and_sync()
            } else {
                end.place_and_sync_until(soon())
            };
            assert_eq!(met, Ok(()), "round {round}, {way:?}");
        }
        assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

pub(crate) fn tokens_before_a_death_that_a_pidfd_shows_are_counted<L: Lane>() {
    let (alive, theirs) = UnixStream::pair().unwrap();
    for _ in 0..deep::or(300, 2_000) {
        let barrier = Barrier::<L>::open().unwrap();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                if let Fork::Child(_guard) = fork().unwrap() {
                    let own = theirs.as_fd().try_clone_to_owned().unwrap();
                    drop((alive, theirs));
                    _ = UnixStream::from(own).read(&mut [0]);
                    exit(0);
                }
                let mut end = barrier.into_child();
                _ = end.place();
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let mut end = barrier.into_parent().watching(&child).unwrap();
        _ = end.place();
        assert_eq!(end.sync_until(soon()), Ok(()));
        assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}
