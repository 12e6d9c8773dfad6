//! Tokens and ends that come at once.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use ipc_barrier::{Barrier, ChildEnd, Ended, Fork, Lane, ParentEnd, Unmet, exit, fork};
use ipc_tests::forked::{end_of, soon};

/// The tokens of a child that exits at once, seen by a parent that is already waiting or not.
pub(crate) fn no_token_is_lost_to_an_exit_in_two_thousand_races<L: Lane>() {
    for round in 0..2_000 {
        let barrier = Barrier::<L>::open().unwrap();
        let tokens = round % 3 + 1;
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                for _ in 0..tokens {
                    end.place();
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let mut end = barrier.into_parent();
        if round % 2 == 0 {
            end = end.watching(&child).unwrap();
        }
        for _ in 0..tokens {
            assert!(end.place());
        }
        assert_eq!(end.sync_until(soon()), Ok(()), "round {round}");
        assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone), "round {round}");
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

/// As above, with the two events so close that a wrong order of looking would show.
pub(crate) fn no_token_is_lost_to_a_dropped_end_in_many_races<L: Lane>() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    for _ in 0..20 {
        let mut barriers: Vec<Barrier<L>> =
            (0..40).map(|_| Barrier::<L>::open().unwrap()).collect();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let ends: Vec<ChildEnd<L>> = barriers.drain(..).map(Barrier::into_child).collect();
                for mut end in ends {
                    (&theirs).read_exact(&mut [0]).unwrap();
                    end.place();
                    drop(end);
                }
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let ends: Vec<ParentEnd<L>> = barriers.drain(..).map(Barrier::into_parent).collect();
        for mut end in ends {
            ours.write_all(b"x").unwrap();
            assert_eq!(end.wait_next_until(soon()), Ok(()));
            assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
        }
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

pub(crate) fn tokens_before_a_death_that_a_pidfd_shows_are_counted<L: Lane>() {
    let (alive, theirs) = UnixStream::pair().unwrap();
    for _ in 0..100 {
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
                end.place();
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let mut end = barrier.into_parent().watching(&child).unwrap();
        end.place();
        assert_eq!(end.sync_until(soon()), Ok(()));
        assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}
