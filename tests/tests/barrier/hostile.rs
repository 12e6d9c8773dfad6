//! Peers that misuse what both sides share: every call still returns, and in time.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use ipc_barrier::{
    Barrier, Child, ChildEnd, Fork, Lane, MeetError, ParentEnd, PeerAbort, Unmet, exit, fork,
};
use ipc_tests::forked::{end_of, forked};
use ipc_tests::random::Random;
use ipc_tests::{deep, seccomp};
use ipc_transport::Instant;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::peer::{milliseconds, pair};
use crate::words::Words;
use crate::{aborts, deadlines, ends, races, waits, watch};

/// A parent's end, and a process with the other end that repeats the act for ever.
fn beside<L: Lane>(mut act: impl FnMut(&ChildEnd<L>)) -> (ParentEnd<L>, Child) {
    let barrier = Barrier::<L>::open().unwrap();
    match fork().unwrap() {
        Fork::Child(_guard) => {
            let end = barrier.into_child();
            loop {
                act(&end);
            }
        }
        Fork::Parent(child) => (barrier.into_parent(), child),
    }
}

fn unmet(met: Result<(), MeetError>) -> Option<Unmet> {
    match met {
        Err(MeetError::Ended(unmet) | MeetError::Unmet(unmet)) => Some(unmet),
        _ => None,
    }
}

/// Makes every call that has a limit, and asserts that each respects it.
fn every_call_keeps_its_limit<L: Lane>(end: &mut ParentEnd<L>) {
    type Call<L> = fn(&mut ParentEnd<L>, Instant) -> Option<Unmet>;
    let calls: [(&str, Call<L>); 11] = [
        ("sync_until", |end, deadline| end.sync_until(deadline).err()),
        ("sync_next_until", |end, deadline| end.sync_next_until(deadline).err()),
        ("wait_next_until", |end, deadline| end.wait_next_until(deadline).err()),
        ("place_and_sync_until", |end, deadline| unmet(end.place_and_sync_until(deadline))),
        ("wait_abort_until", |end, deadline| end.wait_abort_until(deadline).and(None)),
        ("place", |end, _| (end.place().is_err()).then_some(Unmet::TimedOut)),
        ("try_sync", |end, _| end.try_sync().err()),
        ("try_sync_next", |end, _| end.try_sync_next().err()),
        ("try_wait_next", |end, _| end.try_wait_next().err()),
        ("try_wait_abort", |end, _| end.try_wait_abort().and(None)),
        ("arm", |end, _| (!end.arm()).then_some(Unmet::TimedOut)),
    ];
    for (name, call) in calls {
        let begin = Instant::now();
        let unmet = call(end, milliseconds(2));
        let time = Instant::now().since(begin);
        assert!(time < Duration::from_secs(10), "{name}: {time:?}");
        if let Some(unmet) = unmet {
            assert!(!unmet.to_string().is_empty(), "whatever the reason contains");
        }
    }
}

fn ended(mut child: Child) {
    child.kill().unwrap();
    end_of(&mut child);
}

/// Random values in every shared word, as fast as possible, with and without the bits that end the
/// barrier at once.
pub(crate) fn a_peer_that_scribbles_over_every_shared_word_holds_no_call<L: Lane>() {
    let mut random = Random::new();
    for round in 0..deep::or(40, 2_000) {
        random.next();
        let masks = [u32::MAX, !(1 << 31), 1 << 30, 3 << 30, 0xffff];
        let mask = masks[round % masks.len()];
        let barrier = Barrier::<L>::open().unwrap();
        let child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let words = Words::of_the_only_barrier();
                loop {
                    let value = u32::try_from(random.next() & u64::from(mask)).unwrap();
                    words.store(random.below(words.count()), value);
                }
            }
            Fork::Parent(child) => child,
        };
        let mut end = barrier.into_parent();
        for _ in 0..3 {
            every_call_keeps_its_limit(&mut end);
        }
        drop(end);
        ended(child);
    }
}

/// Reads what is meant for the parent, posts garbage, and changes the shared file modes.
pub(crate) fn a_peer_that_misuses_every_descriptor_holds_no_call<L: Lane>() {
    let mut random = Random::new();
    for _ in 0..deep::or(20, 500) {
        // The child gets a copy; advance, so that each child differs.
        random.next();
        let (mut end, child) = beside::<L>(|end| {
            let fds: Vec<BorrowedFd<'_>> = end.descriptors().collect();
            let fd = fds[random.below(fds.len())];
            let mode = fcntl_getfl(fd).unwrap();
            // Non-blocking, so that this process never blocks itself.
            _ = fcntl_setfl(fd, mode | OFlags::NONBLOCK);
            match random.below(3) {
                0 => _ = rustix::io::read(fd, &mut [0; 64]),
                1 => _ = rustix::io::write(fd, &(random.next() >> 8).to_ne_bytes()),
                _ => _ = rustix::io::write(fd, &1_u64.to_ne_bytes()),
            }
            if random.one_in(2) {
                _ = fcntl_setfl(fd, mode - OFlags::NONBLOCK);
            }
        });
        for _ in 0..5 {
            every_call_keeps_its_limit(&mut end);
        }
        drop(end);
        ended(child);
    }
}

/// Reads every byte meant to wake the parent, so that the parent sleeps until its deadline.
pub(crate) fn a_peer_that_steals_what_wakes_holds_no_call<L: Lane>() {
    let (mut end, child) = beside::<L>(|end| {
        // Its outgoing descriptor: the counter, or the reading end of the parent's bell.
        let fd = end.descriptors().next().unwrap();
        let mode = fcntl_getfl(fd).unwrap();
        _ = fcntl_setfl(fd, mode | OFlags::NONBLOCK);
        for _ in 0..100 {
            _ = rustix::io::read(fd, &mut [0; 64]);
        }
        _ = fcntl_setfl(fd, mode - OFlags::NONBLOCK);
        // Then it rings, so that there is something to steal.
        _ = rustix::io::write(end.descriptors().nth(2).unwrap(), &[0]);
        _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
    });
    for _ in 0..deep::or(100, 5_000) {
        every_call_keeps_its_limit(&mut end);
        // A descriptor for an event loop works too.
        end.watch().unwrap();
    }
    drop(end);
    ended(child);
}

/// Rings for ever without placing.
pub(crate) fn a_peer_that_rings_without_tokens_holds_no_call<L: Lane>() {
    let (mut end, child) = beside::<L>(|end| {
        _ = rustix::io::write(end.descriptors().nth(2).unwrap(), &[0]);
    });
    for _ in 0..20 {
        every_call_keeps_its_limit(&mut end);
        assert_eq!(end.try_wait_next(), Ok(false), "a ring without a token does not count");
    }
    let deadline = milliseconds(100);
    assert_eq!(end.wait_next_until(deadline), Err(Unmet::TimedOut));
    assert!(Instant::now() >= deadline);
    assert!(end.peer_abort().is_none() && !end.has_aborted());
    ended(child);
    assert_eq!(end.wait_abort_until(milliseconds(20_000)), Some(PeerAbort::Gone));
}

/// A peer sets the writing end of the bell to blocking and fills the pipe: `place` never blocks.
pub(crate) fn a_full_bell_in_the_waiting_mode_holds_no_place<L: Lane>() {
    let before = ipc_tests::fds::open();
    let barrier = Barrier::<L>::open().unwrap();
    let mut child = match fork().unwrap() {
        // The child writes to the parent's writing end too: descriptors are inherited.
        Fork::Child(_guard) => {
            let opened = ipc_tests::fds::open().into_iter().filter(|fd| !before.contains(fd));
            for fd in opened {
                // SAFETY: the number is open for as long as this process lives.
                let fd = unsafe { BorrowedFd::borrow_raw(fd) };
                _ = fcntl_setfl(fd, OFlags::NONBLOCK);
                while rustix::io::write(fd, &[0; 4096]).is_ok() {}
                _ = fcntl_setfl(fd, OFlags::empty());
            }
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end = barrier.into_parent();
    end_of(&mut child);
    assert!(end.place().is_ok(), "the first token rings the bell");
    assert_eq!(end.wait_abort_until(milliseconds(20_000)), Some(PeerAbort::Gone));
}

/// The same laws hold if the kernel or a filter refuses non-blocking reads.
pub(crate) fn where_reading_without_waiting_is_refused_the_laws_hold<L: Lane>() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EOPNOTSUPP] {
        let mut child = forked(|| {
            seccomp::refuse(&[libc::SYS_preadv2, libc::SYS_pwritev2], errno);
            waits::sync_is_met_once_every_token_is_answered::<L>();
            waits::two_tokens_in_one_drain_meet_one_wait_next::<L>();
            aborts::an_abort_supersedes_tokens_that_are_unread::<L>();
            ends::an_exit_queues_behind_the_tokens::<L>();
            deadlines::a_peer_that_places_without_end_holds_no_wait_past_its_deadline::<L>();
            deadlines::try_forms_never_wait::<L>();
            watch::the_watched_descriptor_is_readable_on_token_abort_and_death::<L>();
            watch::an_event_loop_misses_no_token_of_a_peer_that_runs_freely::<L>();
            races::no_wake_up_is_lost_in_many_rounds::<L>();
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        assert_eq!(child.wait_until(deadline), Some(ipc_barrier::Ended::Exited(0)), "{errno}");
    }
}

/// Old rings must not keep a wait busy: each wake-up drains the bell.
pub(crate) fn a_wait_after_many_rings_sleeps<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    for _ in 0..50 {
        // Each round leaves a ring behind: the token is found without a wait.
        assert_eq!(end.wait_next_until(milliseconds(1)), Err(Unmet::TimedOut));
        peer.does(crate::peer::Order::Place);
        assert_eq!(end.try_wait_next(), Ok(true));
    }
    let before = processor_time();
    assert_eq!(end.wait_next_until(milliseconds(400)), Err(Unmet::TimedOut));
    let used = processor_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of 400 ms were spent awake");
    assert!(end.descriptors().next().unwrap().as_raw_fd() > 2);
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

/// Each of these calls looped for ever.
pub(crate) fn repro_where_a_filter_interrupts_for_ever_no_call_is_held<L: Lane>() {
    let mut child = forked(|| {
        let barrier = Barrier::<L>::open().unwrap();
        let mut end = barrier.into_parent();
        seccomp::refuse(&[libc::SYS_preadv2, libc::SYS_pwritev2], libc::EINTR);
        _ = end.place();
        _ = end.try_wait_next();
        _ = end.wait_next_until(Instant::now() + Duration::from_millis(20));
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    assert_eq!(child.wait_until(deadline), Some(ipc_barrier::Ended::Exited(0)));
}
