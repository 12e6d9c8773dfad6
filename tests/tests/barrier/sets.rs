//! Ends that have slept so often that they sleep with a set (epoll and a timer): the same laws.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipc_barrier::{Ended, Lane, ParentEnd, Unmet};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::{fds, seccomp};
use ipc_transport::Instant;

use crate::descriptors::{ALL_ABORTED, ALL_TIMED_OUT, closed, replace};
use crate::peer::{ABORTED, ALL_LINGER, Order, Peer, linger, milliseconds, pair};
use crate::{abortions, deadlines, ends, hostile, races, waits, watch};

/// What holds for fresh ends, for ends that have lingered.
fn laws<L: Lane>() {
    ALL_LINGER.store(true, Ordering::Relaxed);
    waits::sync_is_met_once_every_token_is_answered::<L>();
    waits::a_peer_that_is_ahead_has_answered_beforehand::<L>();
    waits::sync_next_waits_for_one_answer::<L>();
    waits::two_tokens_in_one_drain_meet_one_wait_next::<L>();
    waits::wait_next_is_not_met_by_places_of_its_own_side::<L>();
    abortions::an_abortion_supersedes_tokens_that_are_unread::<L>();
    abortions::an_abortion_of_ones_own_ends_every_wait_but_the_one_for_the_peers::<L>();
    abortions::wait_abortion_swallows_tokens_and_tells_how_the_peer_ended::<L>();
    abortions::a_reason_reaches_the_other_side_both_ways::<L>();
    ends::an_exit_queues_behind_the_tokens::<L>();
    ends::dropping_an_end_is_gone_for_the_other_side::<L>();
    deadlines::an_until_form_runs_out_at_its_deadline_and_may_be_waited_on_again::<L>();
    deadlines::try_forms_never_wait::<L>();
    deadlines::a_peer_that_places_without_end_holds_no_wait_past_its_deadline::<L>();
    watch::the_watched_descriptor_is_readable_on_token_abortion_and_death::<L>();
    watch::a_wait_that_ran_out_leaves_the_next_post_shown::<L>();
    watch::no_order_of_place_look_arm_and_wait_loses_a_wake_up::<L>();
    watch::an_event_loop_misses_no_token_of_a_peer_that_runs_freely::<L>();
    hostile::a_wait_after_many_rings_sleeps::<L>();
}

pub(crate) fn ends_that_sleep_with_a_set_follow_the_same_laws<L: Lane>() {
    laws::<L>();
}

pub(crate) fn where_no_set_can_be_opened_the_laws_hold<L: Lane>() {
    // The first is noticed when the set is opened, the second when it is slept with.
    for call in [libc::SYS_timerfd_create, libc::SYS_timerfd_settime] {
        let mut child = forked(|| {
            seccomp::refuse(&[call], libc::EPERM);
            let (mut end, _peer) = pair::<L>();
            let open = fds::open();
            linger(&mut end);
            assert_eq!(fds::open(), open, "nothing is left of it");
            if call == libc::SYS_timerfd_create {
                laws::<L>();
            }
            races::no_wake_up_is_lost_in_many_rounds::<L>();
        });
        let deadline = Instant::now() + Duration::from_secs(100);
        assert_eq!(child.wait_until(deadline), Ok(Ended::Exited(0)));
    }
}

/// Sleeps until there is a set, and returns its two descriptors.
fn set_of<L: Lane>(end: &mut ParentEnd<L>) -> [RawFd; 2] {
    let before = fds::open();
    linger(end);
    let new: Vec<RawFd> = fds::open().into_iter().filter(|fd| !before.contains(fd)).collect();
    new.try_into().unwrap()
}

pub(crate) fn only_an_end_that_sleeps_often_opens_a_set<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    let before = fds::open();
    let inherited: Vec<RawFd> = end.descriptors().map(|fd| fd.as_raw_fd()).collect();
    for _ in 0..5 {
        assert_eq!(end.wait_next_until(milliseconds(1)), Err(Unmet::TimedOut));
        // Neither what sleeps by reading the bell nor what only looks counts.
        for _ in 0..10 {
            assert_eq!(end.try_wait_next(), Ok(false));
        }
    }
    assert_eq!(fds::open(), before);
    let set = set_of(&mut end);
    assert!(set.iter().all(|&fd| fd > 2));
    let kept: Vec<RawFd> = end.descriptors().map(|fd| fd.as_raw_fd()).collect();
    assert_eq!(kept, [&inherited[..], &set].concat(), "what a child must keep open");
    assert!(end.descriptors().all(fds::is_cloexec));
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    drop(end);
    assert!(set.iter().all(|fd| !fds::open().contains(fd)), "it goes with its end");
}

pub(crate) fn a_set_that_could_not_be_opened_is_not_tried_again<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    let open = fds::open();
    fds::limit(3);
    linger(&mut end);
    fds::limit(64);
    linger(&mut end);
    assert_eq!(fds::open(), open);
    peer.does(Order::Place);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
}

/// Each wait that there is, with a peer that answers, then dies.
fn goes_on<L: Lane>(mut end: ParentEnd<L>, mut peer: Peer) {
    for _ in 0..100 {
        end.place();
        peer.tell(Order::Place);
        assert_eq!(end.sync_until(soon()), Ok(()));
        assert_eq!(peer.answer(), b'y');
        assert_eq!(end.wait_next_until(milliseconds(0)), Err(Unmet::TimedOut));
    }
    peer.process.kill().unwrap();
    assert_eq!(end.wait_abortion_until(soon()), Unmet::Gone);
    end_of(&mut peer.process);
}

pub(crate) fn an_end_whose_set_was_closed_under_it_goes_on<L: Lane>() {
    let null = File::open("/dev/null").unwrap();
    for is_replaced in [false, true] {
        let (mut end, peer) = pair::<L>();
        for fd in set_of(&mut end) {
            if is_replaced {
                replace(fd, null.as_fd());
            } else {
                // SAFETY: its owner is forgotten at the first wait, as this is to show.
                assert_eq!(unsafe { libc::close(fd) }, 0);
            }
        }
        goes_on(end, peer);
    }
}

/// A set forgets in silence what is closed here and lives on elsewhere, or nowhere.
pub(crate) fn repro_what_is_closed_under_an_end_with_a_set_is_noticed_at_its_deadline<L: Lane>() {
    let (end, peer) = pair::<L>();
    let before = fds::open();
    let mut end = end.watching(&peer.process).unwrap();
    let pidfd = fds::open().into_iter().find(|fd| !before.contains(fd)).unwrap();
    linger(&mut end);
    // SAFETY: the owner is forgotten below.
    unsafe { libc::close(pidfd) };
    assert_eq!(end.wait_next_until(milliseconds(10)), Err(ABORTED));
    assert!(end.has_aborted());
    std::mem::forget(end);
    ALL_LINGER.store(true, Ordering::Relaxed);
    // The peer's bell is only kept so that nobody writes to a pipe without reader.
    let outgoing = if L::NAME == "page" { ALL_TIMED_OUT } else { ALL_ABORTED };
    assert_eq!(closed::<L>(), [outgoing, ALL_ABORTED, ALL_ABORTED]);
}

/// A watched process that is not there when the set is opened.
pub(crate) fn a_process_that_is_watched_later_is_watched_by_the_set_too<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    linger(&mut end);
    let before = fds::open().len();
    let mut end = end.watching(&peer.process).unwrap();
    assert_eq!(fds::open().len(), before - 1, "a pidfd, and no set");
    linger(&mut end);
    assert_eq!(fds::open().len(), before + 1);
    // Somebody holds all that the child has, so that only the process shows its death.
    peer.does(Order::Fork);
    peer.process.kill().unwrap();
    assert_eq!(end.wait_next_until(soon()), Err(Unmet::Gone));
    end_of(&mut peer.process);
}

/// A ring that was shown may stay unread, but no more of them than a read takes.
pub(crate) fn a_bell_never_fills<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    for round in 0..600 {
        peer.tell(Order::Place);
        // At last also by reading the bell alone.
        let met = if round > 500 { end.wait_next() } else { end.wait_next_until(soon()) };
        assert_eq!((met, peer.answer()), (Ok(()), b'y'));
        if L::NAME == "page" {
            let unread = rustix::io::ioctl_fionread(end.descriptors().nth(1).unwrap()).unwrap();
            assert!(unread <= 64, "round {round}: {unread} rings");
        }
    }
}

/// poll(2) takes no more descriptors than the process may open: none, as sandboxes have it. Where
/// reading without waiting is refused as well, what the set has shown cannot be taken.
pub(crate) fn repro_what_is_shown_once_and_cannot_be_taken_ends_the_wait<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    linger(&mut end);
    fds::limit(0);
    seccomp::refuse(&[libc::SYS_preadv2], libc::EOPNOTSUPP);
    peer.does(Order::Place);
    let deadline = soon();
    assert_eq!(end.wait_next_until(deadline), Err(ABORTED));
    assert!(Instant::now() < deadline, "the token was shown, and not taken");
}
