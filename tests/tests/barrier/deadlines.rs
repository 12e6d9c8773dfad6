//! Deadlines, polling and signals.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use ipc_barrier::{Barrier, End, Ended, Fork, Lane, ParentEnd, PeerAbort, Role, Unmet, exit, fork};
use ipc_tests::around::proc;
use ipc_tests::forked::{end_of, soon};
use ipc_tests::storm::Storm;
use ipc_transport::Instant;

use crate::descriptors::replace;
use crate::peer::{Order, milliseconds, pair};

pub(crate) fn an_until_form_runs_out_at_its_deadline_and_may_be_waited_on_again<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    _ = end.place();
    for wait in [
        ParentEnd::sync_until,
        ParentEnd::sync_next_until,
        ParentEnd::wait_next_until,
        |end: &mut ParentEnd<L>, deadline| match end.wait_abort_until(deadline) {
            Some(abort) => panic!("{abort:?}"),
            None => Err(Unmet::TimedOut),
        },
    ] {
        let deadline = milliseconds(30);
        assert_eq!(wait(&mut end, deadline), Err(Unmet::TimedOut));
        assert!(Instant::now() >= deadline, "it returned early");
        let passed = Instant::from_nanoseconds(1);
        assert_eq!(wait(&mut end, passed), Err(Unmet::TimedOut));
    }
    peer.does(Order::Place);
    let passed = Instant::from_nanoseconds(1);
    assert_eq!(end.wait_next_until(passed), Ok(()), "a token counts after the deadline too");
    assert_eq!(end.sync_until(Instant::NEVER), Ok(()));
    assert!(!end.has_aborted());
}

pub(crate) fn try_forms_never_wait<L: Lane>() {
    let (mut end, peer) = pair::<L>();
    peer.signal(rustix::process::Signal::STOP);
    _ = end.place();
    let before = voluntary_switches();
    for _ in 0..2_000 {
        assert_eq!(end.try_sync(), Ok(false));
        assert_eq!(end.try_sync_next(), Ok(false));
        assert_eq!(end.try_wait_next(), Ok(false));
        assert_eq!(end.try_wait_abort(), None);
    }
    assert_eq!(voluntary_switches(), before, "it has slept");
    peer.signal(rustix::process::Signal::KILL);
    assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
    assert_eq!(end.try_sync(), Err(Unmet::Gone));
}

fn voluntary_switches() -> u64 {
    let status = std::fs::read_to_string(proc("self/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

pub(crate) fn a_peer_that_places_without_end_holds_no_wait_past_its_deadline<L: Lane>() {
    let (mut end, mut peer) = pair::<L>();
    peer.does(Order::Flood);
    assert_eq!(end.wait_next_until(soon()), Ok(()));
    for _ in 0..100 {
        assert_eq!(end.try_wait_abort(), None);
    }
    let begin = Instant::now();
    assert_eq!(end.wait_abort_until(milliseconds(100)), None);
    let time = Instant::now().since(begin);
    assert!(time >= Duration::from_millis(100) && time < Duration::from_secs(10), "{time:?}");
    peer.process.kill().unwrap();
    assert_eq!(end.wait_abort_until(soon()), Some(PeerAbort::Gone));
}

/// A file of ones replaces the counter: a peer that has always placed again.
pub(crate) fn repro_a_look_takes_a_bounded_number_of_drains<L: Lane>() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&1_u64.to_ne_bytes().repeat(10_000)).unwrap();
    let (mut end, _peer) = pair::<L>();
    replace(end.descriptors().nth(1).unwrap().as_raw_fd(), file.as_fd());
    let read = || rustix::fs::tell(&file).unwrap();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    assert_eq!(end.try_wait_abort(), None);
    // A look reads up to a full bell, or the eight bytes of a counter.
    let most = 4 * 64;
    assert!(read() <= most, "one look read {} bytes", read());
    let before = read();
    assert_eq!(end.wait_abort_until(Instant::from_nanoseconds(1)), None);
    assert!(read() <= before + most, "one look read {} bytes", read() - before);
}

/// Half of the rounds have a deadline.
fn rounds_in_a_storm<R: Role, L: Lane>(end: &mut End<R, L>) -> Storm {
    let storm = Storm::begin(Duration::from_micros(50));
    for round in 0..3_000 {
        let met =
            if round % 2 == 0 { end.place_and_sync() } else { end.place_and_sync_until(soon()) };
        assert_eq!(met, Ok(()), "round {round}");
    }
    assert!(Storm::signals() > 10);
    storm
}

pub(crate) fn signals_fail_nothing_and_prolong_nothing<L: Lane>() {
    for pidfd in [true, false] {
        let barrier = Barrier::<L>::open().unwrap();
        let mut child = match fork().unwrap() {
            Fork::Child(_guard) => {
                let mut end = barrier.into_child();
                let storm = rounds_in_a_storm(&mut end);
                assert_eq!(end.wait_abort(), PeerAbort::Gone);
                drop(storm);
                exit(0);
            }
            Fork::Parent(child) => child,
        };
        let end = barrier.into_parent();
        let mut end = if pidfd { end.watching(&child).unwrap() } else { end };
        let _storm = rounds_in_a_storm(&mut end);
        let begin = Instant::now();
        let before = Storm::signals();
        assert_eq!(end.wait_next_until(milliseconds(200)), Err(Unmet::TimedOut));
        assert_eq!(child.wait_until(milliseconds(200)), None);
        let time = Instant::now().since(begin);
        assert!(time >= Duration::from_millis(400) && time < Duration::from_secs(10), "{time:?}");
        assert!(Storm::signals() > before + 50, "{} signals", Storm::signals() - before);
        assert_eq!(end.try_wait_next(), Ok(false));
        drop(end);
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}
