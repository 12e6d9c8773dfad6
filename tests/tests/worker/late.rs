//! Cancels and deadlines: requests that have not begun never begin, and late replies do no harm.

use ipc_tests::over;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_tests::fds;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Call, Counters, Ended, How, Instant, Worker};
use rustix::process::{Pid, Signal, kill_process};

use crate::handler::*;

pub(crate) fn what_was_taken_back_begins_in_no_later_worker_either() {
    let mut worker = worker();
    let file = tempfile::tempfile().unwrap();
    let fds = [file.as_fd()];
    let pid = Pid::from_raw(worker.pid().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    worker.try_call(Call::new(ECHO, &[b"first"]), 1).unwrap();
    let cancelled = worker.try_call(Call::new(WRITE, &[b"no"]).fds(&fds), 2).unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    worker.try_call(Call::new(WRITE, &[b"no"]).fds(&fds).deadline(deadline), 3).unwrap();
    worker.try_send(Call::new(WRITE, &[b"no"]).fds(&fds).deadline(deadline)).unwrap();
    worker.try_call(Call::new(WRITE, &[b"yes"]).fds(&fds), 4).unwrap();
    // All are in the socket when one is cancelled and the deadline of two passes.
    worker.turn(Instant::now());
    assert!(worker.cancel(cancelled));
    let list = turn_until(&mut worker, |list| list.len() == 2);
    assert_eq!(list, [Told::Cancelled(2), Told::Late(3)]);
    kill_process(pid, Signal::KILL).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 4);
    let expected = [
        Told::Died(Ended::Killed(9)),
        Told::Started(2),
        Told::Reply(1, b"first".to_vec()),
        Told::Reply(4, Vec::new()),
    ];
    assert_eq!(list, expected);
    worker.stop(soon(), |event| panic!("{event:?}"));
    assert_eq!(file.metadata().unwrap().len(), 3);
    assert_eq!(worker.counters().one_ways_expired, 1);
}

pub(crate) fn repro_the_room_of_one_given_up_half_sent_is_told_of() {
    const LARGE: usize = 1 << 20;
    let mut place = Box::new_uninit();
    let worker = Worker::<u32, _, 4, LARGE>::start_in(&mut place, over::fork(handle)).unwrap();
    let pid = Pid::from_raw(worker.pid().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let bytes = vec![7; LARGE - 1000];
    let id = worker.try_call(Call::new(ECHO, &[&bytes]), 1).unwrap();
    worker.turn(Instant::now());
    assert!(worker.cancel(id));
    assert_eq!(told(worker.next_event().unwrap()), Told::Cancelled(1));
    assert!(worker.next_event().is_none());
    kill_process(pid, Signal::CONT).unwrap();
    // A loop that waits for nothing else.
    while !worker.has_room_for(bytes.len(), 0) {
        worker.turn(Instant::now());
        assert!(worker.next_event().is_none());
        let limit = soon();
        let wake = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
        assert!(Instant::now() < limit, "it sleeps although there is room");
    }
    assert_eq!(worker.stop(soon(), |_| ()), Some(Ended::Exited(0)));
}

pub(crate) fn a_late_reply_and_its_descriptors_are_dropped_and_counted() {
    let mut worker = worker();
    let before = fds::open().len();
    for round in 0..3 {
        let deadline = Instant::now() + Duration::from_millis(20);
        let running = worker
            .try_call(Call::new(SLOW_PIPE, &[b"x"]).reply_fds(1).deadline(deadline), 1)
            .unwrap();
        worker.turn(Instant::now());
        if round == 0 {
            std::thread::sleep(Duration::from_millis(10));
            assert!(worker.cancel(running));
        }
        // The slots of late requests are reused at once.
        worker.try_call(Call::new(PIPE, &[b"y"]).reply_fds(1), 2).unwrap();
        let list = turn_until(&mut worker, |list| list.len() == 2);
        let late = if round == 0 { Told::Cancelled(1) } else { Told::Late(1) };
        assert_eq!(list, [late, Told::Reply(2, Vec::new())]);
    }
    let counters = worker.counters();
    assert_eq!((counters.stray_replies, counters.stray_fds), (3, 3));
    assert_eq!(fds::open().len(), before, "late descriptors are closed");
}

pub(crate) fn a_handler_that_asks_sees_that_it_is_given_up() {
    let mut worker = worker();
    let id = worker.try_call(Call::new(UNTIL_CANCELLED, &[]), 1).unwrap();
    let deadline = Instant::now() + Duration::from_millis(30);
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(30));
    assert!(worker.cancel(id));
    worker.try_call(Call::new(UNTIL_CANCELLED, &[]).deadline(deadline), 2).unwrap();
    worker.try_send(Call::new(UNTIL_CANCELLED, &[]).deadline(deadline)).unwrap();
    worker.try_call(Call::new(ECHO, &[b"at last"]), 3).unwrap();
    let list = turn_until(&mut worker, |list| list.len() == 3);
    assert_eq!(list, [Told::Cancelled(1), Told::Late(2), Told::Reply(3, b"at last".to_vec())]);
}

pub(crate) fn what_was_given_up_while_it_ran_is_not_lost_again() {
    let mut worker = worker();
    let id = worker.try_call(Call::new(SLEEP_MS, &[&LONG]), 1).unwrap();
    worker.try_call(Call::new(ECHO, &[b"x"]), 2).unwrap();
    worker.turn(Instant::now());
    std::thread::sleep(Duration::from_millis(50));
    assert!(worker.cancel(id));
    let mut list = Vec::new();
    let deadline = Instant::now() + Duration::from_millis(50);
    let ended = worker.stop(deadline, |event| list.push(told(event)));
    assert_eq!(ended, Some(Ended::Killed(9)));
    assert_eq!(list, [Told::Cancelled(1), Told::Lost(2, How::NotBegun)]);
    assert_eq!(worker.counters(), Counters::default());
}
